#include "help/opencl.h"
#include "kernels.h"

EMBED(opencl_residual, "residual.cl");

namespace peri {

using namespace opencl;

namespace {
const File file = {"residual", opencl_residual_begin, opencl_residual_end};
}

template <class Real>
void residual_add(Real* y, const Real* x, const Real* a, Accum<Real> alpha, size_t n) {
    launch<Real>(file, "residual_add", groups_for(n), y, x, a, alpha, n);
}

template void residual_add(float*, const float*, const float*, float, size_t);
template void residual_add(bf16*, const bf16*, const bf16*, float, size_t);
template void residual_add(fp16*, const fp16*, const fp16*, float, size_t);

}  // namespace peri
