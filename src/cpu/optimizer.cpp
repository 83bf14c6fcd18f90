#include <algorithm>
#include <cmath>
#include <type_traits>

#include "device.h"
#include "kernels.h"

namespace peri {

template <class Real>
void sum_of_squares(double* sums, const Accum<Real>* g, size_t n) {
#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < square_blocks(n); b++) {
        const size_t end = std::min(n, (b + 1) * square_block);
        double s = 0;
#pragma omp simd reduction(+ : s)
        for (size_t i = b * square_block; i < end; i++) s += double(g[i]) * double(g[i]);
        sums[b] = s;
    }
}

template <class Real>
void clip_scale(double* norm, Accum<Real>* scale, LossScale* loss_scale, const double* sums,
                size_t blocks, double max_norm) {
    double sum = 0;
    for (size_t b = 0; b < blocks; b++) sum += sums[b];
    const double unscale = loss_scale ? 1.0 / loss_scale->scale : 1;
    *norm = std::sqrt(sum) * unscale;
    const double clip = max_norm > 0 && *norm > max_norm ? max_norm / *norm : 1;
    *scale = std::isfinite(*norm) ? static_cast<Accum<Real>>(clip * unscale) : loss_scale ? 0 : NAN;
    if (loss_scale) move_on(*loss_scale, std::isfinite(*norm));
}

namespace {

// Where the weights are that updates add up in.
template <class Real>
Accum<Real>* exact_weights([[maybe_unused]] Real* w, [[maybe_unused]] Accum<Real>* master) {
    if constexpr (std::is_same_v<Real, Accum<Real>>)
        return w;
    else
        return master;
}

}  // namespace

template <class Real>
void adamw_update(Real* w, Accum<Real>* master, Accum<Real>* m, Accum<Real>* v,
                  const Accum<Real>* g, const Accum<Real>* scale, size_t n, AdamW settings) {
    using A = Accum<Real>;
    A* const exact = exact_weights(w, master);
    const A beta1 = A(settings.beta1), beta2 = A(settings.beta2), eps = A(settings.eps);
    const A lr = A(settings.lr), decay = A(settings.weight_decay), s = *scale;
    if (s == 0) return;  // a skipped step
    const A unbias1 = A(1 / (1 - std::pow(settings.beta1, settings.step)));
    const A unbias2 = A(1 / (1 - std::pow(settings.beta2, settings.step)));
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        const A grad = s * g[i];
        m[i] = beta1 * m[i] + (1 - beta1) * grad;
        v[i] = beta2 * v[i] + (1 - beta2) * grad * grad;
        const A direction = m[i] * unbias1 / (std::sqrt(v[i] * unbias2) + eps);
        exact[i] -= lr * (direction + decay * exact[i]);
        w[i] = exact[i];
    }
}

template <class Real>
void sgd_update(Real* w, Accum<Real>* master, Accum<Real>* m, const Accum<Real>* g,
                const Accum<Real>* scale, size_t n, Sgd settings) {
    using A = Accum<Real>;
    A* const exact = exact_weights(w, master);
    const A lr = A(settings.lr), momentum = A(settings.momentum), s = *scale;
    const A decay = A(settings.weight_decay);
    if (s == 0) return;
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        m[i] = momentum * m[i] + s * g[i] + decay * exact[i];
        exact[i] -= lr * m[i];
        w[i] = exact[i];
    }
}

#define INSTANTIATE(Real)                                                                    \
    template void sum_of_squares<Real>(double*, const Accum<Real>*, size_t);                 \
    template void clip_scale<Real>(double*, Accum<Real>*, LossScale*, const double*, size_t, \
                                   double);                                                  \
    template void adamw_update(Real*, Accum<Real>*, Accum<Real>*, Accum<Real>*,              \
                               const Accum<Real>*, const Accum<Real>*, size_t, AdamW);       \
    template void sgd_update(Real*, Accum<Real>*, Accum<Real>*, const Accum<Real>*,          \
                             const Accum<Real>*, size_t, Sgd);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#endif
#undef INSTANTIATE

}  // namespace peri
