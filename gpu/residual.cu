#include "kernels.h"
#include "parallel.h"

namespace peri {

template <class Real>
__global__ void residual_add_kernel(Real* y, const Real* x, const Real* a, Accum<Real> alpha,
                                    size_t n) {
    for (size_t i = first_entry(); i < n; i += entry_stride()) y[i] = alpha * x[i] + a[i];
}

template <class Real>
void residual_add(Real* y, const Real* x, const Real* a, Accum<Real> alpha, size_t n) {
    launch(residual_add_kernel<Real>, blocks_for(n), block_size, 0, y, x, a, alpha, n);
}

template void residual_add(float*, const float*, const float*, float, size_t);
template void residual_add(bf16*, const bf16*, const bf16*, float, size_t);

}  // namespace peri
