#include <cmath>
#include <type_traits>

#include "device.h"
#include "kernels.h"
#include "parallel.h"

namespace peri {

constexpr size_t summed_at_once = size_t(1) << 16;  // numbers of one block of threads

template <class Real>
size_t sum_of_squares_workspace(size_t n) {
    return (n + summed_at_once - 1) / summed_at_once * sizeof(double);
}

// partial[b] = sum of the squares of the b-th 65,536 numbers
template <class A>
__global__ void square_parts_kernel(double* partial, const A* g, size_t n) {
    DYNAMIC_SHARED(double, shared);
    const size_t begin = blockIdx.x * summed_at_once;
    const size_t end = begin + summed_at_once < n ? begin + summed_at_once : n;
    double sum = 0;
    for (size_t i = begin + threadIdx.x; i < end; i += block_size)
        sum += double(g[i]) * double(g[i]);
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void add_squares_kernel(double* sum, const double* partial, size_t parts) {
    DYNAMIC_SHARED(double, shared);
    double mine = 0;
    for (size_t p = threadIdx.x; p < parts; p += block_size) mine += partial[p];
    mine = block_sum(mine, shared);
    if (threadIdx.x == 0) *sum = mine;
}

template <class Real>
void sum_of_squares(double* sum, const Accum<Real>* g, size_t n) {
    double* const partial =
        static_cast<double*>(workspace<Real>(sum_of_squares_workspace<Real>(n)));
    const size_t parts = (n + summed_at_once - 1) / summed_at_once;
    const size_t shared = warps_in_block * sizeof(double);
    launch(square_parts_kernel<Accum<Real>>, dim3(static_cast<unsigned>(parts)), block_size, shared,
           partial, g, n);
    launch(add_squares_kernel, dim3(1), block_size, shared, sum, partial, parts);
}

template <class A>
__global__ void clip_scale_kernel(double* norm, A* scale, const double* sum, double max_norm) {
    *norm = sqrt(*sum);
    if (!(*norm <= 1.7976931348623157e308))
        *scale = static_cast<A>(NAN);
    else
        *scale = max_norm > 0 && *norm > max_norm ? static_cast<A>(max_norm / *norm) : 1;
}

template <class Real>
void clip_scale(double* norm, Accum<Real>* scale, const double* sum, double max_norm) {
    launch(clip_scale_kernel<Accum<Real>>, dim3(1), 1, 0, norm, scale, sum, max_norm);
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

#define INSTANTIATE(Real)                                                              \
    template size_t sum_of_squares_workspace<Real>(size_t);                            \
    template void sum_of_squares<Real>(double*, const Accum<Real>*, size_t);           \
    template void clip_scale<Real>(double*, Accum<Real>*, const double*, double);      \
    template void adamw_update(Real*, Accum<Real>*, Accum<Real>*, Accum<Real>*,        \
                               const Accum<Real>*, const Accum<Real>*, size_t, AdamW); \
    template void sgd_update(Real*, Accum<Real>*, Accum<Real>*, const Accum<Real>*,    \
                             const Accum<Real>*, size_t, Sgd);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
