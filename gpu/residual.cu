#include "kernels.h"
#include "parallel.h"

namespace peri {

// numbers moved an entry: 3
template <class Real, int W>
__global__ void residual_add_kernel(Real* y, const Real* x, const Real* a, Accum<Real> alpha,
                                    size_t n) {
    for (size_t i = first_entry<W>(); i < n; i += entry_stride<W>()) {
        const auto left = load<W>(x + i), right = load<W>(a + i);
        Pack<Real, W> sum;
        for (int k = 0; k < W; k++) sum[k] = alpha * left[k] + right[k];
        store(y + i, sum);
    }
}

template <class Real>
void residual_add(Real* y, const Real* x, const Real* a, Accum<Real> alpha, size_t n) {
    launch_entries<Real>(residual_add_kernel<Real, wide<Real>>, residual_add_kernel<Real, 1>, n, y,
                         x, a, alpha, n);
}

template void residual_add(float*, const float*, const float*, float, size_t);
template void residual_add(bf16*, const bf16*, const bf16*, float, size_t);
template void residual_add(fp16*, const fp16*, const fp16*, float, size_t);

}  // namespace peri
