#include <cmath>
#include <type_traits>

#include "device.h"
#include "kernels.h"
#include "parallel.h"

namespace peri {

template <class A>
__global__ void sum_of_squares_kernel(double* sums, const A* g, size_t n) {
    DYNAMIC_SHARED(double, shared);
    const size_t begin = blockIdx.x * square_block;
    const size_t end = begin + square_block < n ? begin + square_block : n;
    double sum = 0;
    for (size_t i = begin + threadIdx.x; i < end; i += block_size)
        sum += double(g[i]) * double(g[i]);
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

template <class Real>
void sum_of_squares(double* sums, const Accum<Real>* g, size_t n) {
    launch(sum_of_squares_kernel<Accum<Real>>, dim3(static_cast<unsigned>(square_blocks(n))),
           block_size, warps_in_block * sizeof(double), sums, g, n);
}

template <class A>
__global__ void clip_scale_kernel(double* norm, A* scale, LossScale* loss_scale, const double* sums,
                                  size_t blocks, double max_norm) {
    DYNAMIC_SHARED(double, shared);
    double sum = 0;
    for (size_t b = threadIdx.x; b < blocks; b += block_size) sum += sums[b];
    sum = block_sum(sum, shared);
    if (threadIdx.x > 0) return;
    const double unscale = loss_scale ? 1.0 / loss_scale->scale : 1;
    *norm = sqrt(sum) * unscale;
    const bool good = *norm <= 1.7976931348623157e308;
    const double clip = max_norm > 0 && *norm > max_norm ? max_norm / *norm : 1;
    *scale = good ? static_cast<A>(clip * unscale) : loss_scale ? 0 : static_cast<A>(NAN);
    if (loss_scale) move_on(*loss_scale, good);
}

template <class Real>
void clip_scale(double* norm, Accum<Real>* scale, LossScale* loss_scale, const double* sums,
                size_t blocks, double max_norm) {
    launch(clip_scale_kernel<Accum<Real>>, dim3(1), block_size, warps_in_block * sizeof(double),
           norm, scale, loss_scale, sums, blocks, max_norm);
}

// Where the weights are that updates add up in.
template <class Real>
__device__ Accum<Real>* exact_weights([[maybe_unused]] Real* w,
                                      [[maybe_unused]] Accum<Real>* master) {
    if constexpr (std::is_same_v<Real, Accum<Real>>)
        return w;
    else
        return master;
}

template <class Real>
__global__ void adamw_update_kernel(Real* w, Accum<Real>* master, Accum<Real>* m, Accum<Real>* v,
                                    const Accum<Real>* g, const Accum<Real>* scale, size_t n,
                                    AdamW settings, Accum<Real> unbias1, Accum<Real> unbias2) {
    using A = Accum<Real>;
    A* const exact = exact_weights(w, master);
    const A beta1 = A(settings.beta1), beta2 = A(settings.beta2), eps = A(settings.eps);
    const A lr = A(settings.lr), decay = A(settings.weight_decay), s = *scale;
    if (s == 0) return;
    for (size_t i = first_entry(); i < n; i += entry_stride()) {
        const A grad = s * g[i];
        m[i] = beta1 * m[i] + (1 - beta1) * grad;
        v[i] = beta2 * v[i] + (1 - beta2) * grad * grad;
        const A direction = m[i] * unbias1 / (sqrt(v[i] * unbias2) + eps);
        exact[i] -= lr * (direction + decay * exact[i]);
        w[i] = exact[i];
    }
}

template <class Real>
void adamw_update(Real* w, Accum<Real>* master, Accum<Real>* m, Accum<Real>* v,
                  const Accum<Real>* g, const Accum<Real>* scale, size_t n, AdamW settings) {
    using A = Accum<Real>;
    const A unbias1 = A(1 / (1 - std::pow(settings.beta1, settings.step)));
    const A unbias2 = A(1 / (1 - std::pow(settings.beta2, settings.step)));
    launch(adamw_update_kernel<Real>, blocks_for(n), block_size, 0, w, master, m, v, g, scale, n,
           settings, unbias1, unbias2);
}

template <class Real>
__global__ void sgd_update_kernel(Real* w, Accum<Real>* master, Accum<Real>* m,
                                  const Accum<Real>* g, const Accum<Real>* scale, size_t n,
                                  Sgd settings) {
    using A = Accum<Real>;
    A* const exact = exact_weights(w, master);
    const A lr = A(settings.lr), momentum = A(settings.momentum), s = *scale;
    const A decay = A(settings.weight_decay);
    if (s == 0) return;
    for (size_t i = first_entry(); i < n; i += entry_stride()) {
        m[i] = momentum * m[i] + s * g[i] + decay * exact[i];
        exact[i] -= lr * m[i];
        w[i] = exact[i];
    }
}

template <class Real>
void sgd_update(Real* w, Accum<Real>* master, Accum<Real>* m, const Accum<Real>* g,
                const Accum<Real>* scale, size_t n, Sgd settings) {
    launch(sgd_update_kernel<Real>, blocks_for(n), block_size, 0, w, master, m, g, scale, n,
           settings);
}

#define INSTANTIATE(Real)                                                                    \
    template void sum_of_squares<Real>(double*, const Accum<Real>*, size_t);                 \
    template void clip_scale<Real>(double*, Accum<Real>*, LossScale*, const double*, size_t, \
                                   double);                                                  \
    template void adamw_update(Real*, Accum<Real>*, Accum<Real>*, Accum<Real>*,              \
                               const Accum<Real>*, const Accum<Real>*, size_t, AdamW);       \
    template void sgd_update(Real*, Accum<Real>*, Accum<Real>*, const Accum<Real>*,          \
                             const Accum<Real>*, size_t, Sgd);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
