#include "kernels.h"

namespace peri {

template <class Real>
void residual_add(Real* y, const Real* x, const Real* a, Accum<Real> alpha, size_t n) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) y[i] = alpha * x[i] + a[i];
}

template void residual_add(double*, const double*, const double*, double, size_t);
#ifndef BACKEND_ELSEWHERE
template void residual_add(float*, const float*, const float*, float, size_t);
template void residual_add(bf16*, const bf16*, const bf16*, float, size_t);
template void residual_add(fp16*, const fp16*, const fp16*, float, size_t);
#endif

}  // namespace peri
