#include <cmath>
#include <limits>

#include "cpu/parallel.h"
#include "device.h"
#include "kernels.h"

namespace peri {

namespace {

// 1 / sqrt(mean square), and NaN where the sum of squares has overflowed: 1 / inf = 0 would turn a
// hidden state that has exploded into a calm row of zeros.
template <class A>
A reciprocal_root(A mean_square) {
    return mean_square <= std::numeric_limits<A>::max() ? 1 / std::sqrt(mean_square)
                                                        : std::numeric_limits<A>::quiet_NaN();
}

}  // namespace

// ---- RMSNorm: the norm of the paper -------------------------------------------------------------
//
// Forward, one row a of D = C numbers (Eqs. 25, 26):
//
//     y_p = gamma_p a_p s,    s = (alpha + eps)^(-1/2),    alpha = 1/D sum_k a_k^2
//
// Backward. Since ds/da_q = -s^3 a_q / D, the Jacobian is (Eqs. 27 to 30, with a gamma a channel)
//
//     J_pq = dy_p / da_q = gamma_p (s delta_pq - s^3 a_p a_q / D)
//
// a multiple of the identity less a rank-one matrix. It is never formed: with g_p = gamma_p dy_p,
//
//     da_q = sum_p dy_p J_pq = s g_q - a_q s^3 / D (sum_p g_p a_p)
//
// which is s times (g less its component along a) when eps = 0. Hence Proposition 3.1: the gradient
// that leaves an output norm is at most gamma/sqrt(alpha + eps) times the one that enters it, so a
// massive module output a damps its own gradient.

template <class T>
void rmsnorm_forward(T* y, Accum<T>* rstd, const T* x, const Accum<T>* gamma, int R, int C,
                     Accum<T> eps, Join<T> join) {
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++) {
        const T* const a = x + size_t(r) * C;
        T* const out = y + size_t(r) * C;
        Accum<T> sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int c = 0; c < C; c++) sum += a[c] * a[c];
        const Accum<T> s = reciprocal_root(sum / C + eps);
        rstd[r] = s;
        const Join<T> joined = join.row(r, C, a);
#pragma omp simd
        for (int c = 0; c < C; c++) out[c] = joined.alpha * joined.with[c] + gamma[c] * a[c] * s;
    }
}

namespace {

// Adds the threads' partial sums, partial (threads,C), to total (C), always in the same order.
template <class A>
void add_partials(A* total, const A* partial, int threads, int C) {
    for (int t = 0; t < threads; t++)
        for (int c = 0; c < C; c++) total[c] += partial[size_t(t) * C + c];
}

}  // namespace

template <class T>
size_t norm_workspace(int C) {
    return 2 * size_t(get_threads()) * C * sizeof(Accum<T>);
}

template <class T>
void rmsnorm_backward(T* dx, Accum<T>* dgamma, const T* dy, const T* x, const Accum<T>* gamma,
                      const Accum<T>* rstd, int R, int C, Join<T> join) {
    Accum<T>* const partial = static_cast<Accum<T>*>(workspace<T>(norm_workspace<T>(C)));
    const int threads = parallel_ranges(R, [=](size_t begin, size_t end, int thread) {
        Accum<T>* const dgamma_here = partial + size_t(thread) * C;
        for (int c = 0; c < C; c++) dgamma_here[c] = 0;
        for (size_t r = begin; r < end; r++) {
            const T* const a = x + r * C;
            const T* const g = dy + r * C;
            T* const da = dx + r * C;
            const Accum<T> s = rstd[r];
            Accum<T> dot = 0;  // sum_p g_p a_p
#pragma omp simd reduction(+ : dot)
            for (int c = 0; c < C; c++) dot += gamma[c] * g[c] * a[c];
            const Accum<T> along = s * s * s * dot / C;
            const Join<T> joined = join.row(r, C, a);
#pragma omp simd
            for (int c = 0; c < C; c++) {
                dgamma_here[c] += g[c] * a[c] * s;
                da[c] = joined.alpha * joined.with[c] + s * gamma[c] * g[c] - a[c] * along;
            }
        }
    });
    if (dgamma) add_partials(dgamma, partial, threads, C);
}

// ---- LayerNorm (Appendix G.4) -------------------------------------------------------------------
//
// With z_p = (a_p - mean) s, s = (var + eps)^(-1/2), y_p = gamma_p z_p + beta_p:
//
//     da_q = s (g_q - 1/D sum_p g_p - z_q / D sum_p g_p z_p),    g_p = gamma_p dy_p
//
// RMSNorm's backward on centred numbers, itself centred.

template <class T>
void layernorm_forward(T* y, Accum<T>* mean, Accum<T>* rstd, const T* x, const Accum<T>* gamma,
                       const Accum<T>* beta, int R, int C, Accum<T> eps, Join<T> join) {
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++) {
        const T* const a = x + size_t(r) * C;
        T* const out = y + size_t(r) * C;
        Accum<T> sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (int c = 0; c < C; c++) sum += a[c];
        const Accum<T> m = sum / C;
#pragma omp simd reduction(+ : squares)
        for (int c = 0; c < C; c++) squares += (a[c] - m) * (a[c] - m);
        const Accum<T> s = reciprocal_root(squares / C + eps);
        mean[r] = m;
        rstd[r] = s;
        const Join<T> joined = join.row(r, C, a);
#pragma omp simd
        for (int c = 0; c < C; c++)
            out[c] = joined.alpha * joined.with[c] + gamma[c] * (a[c] - m) * s + beta[c];
    }
}

template <class T>
void layernorm_backward(T* dx, Accum<T>* dgamma, Accum<T>* dbeta, const T* dy, const T* x,
                        const Accum<T>* gamma, const Accum<T>* mean, const Accum<T>* rstd, int R,
                        int C, Join<T> join) {
    Accum<T>* const partial = static_cast<Accum<T>*>(workspace<T>(norm_workspace<T>(C)));
    Accum<T>* const partial_beta = partial + size_t(get_threads()) * C;
    const int threads = parallel_ranges(R, [=](size_t begin, size_t end, int thread) {
        Accum<T>* const dgamma_here = partial + size_t(thread) * C;
        Accum<T>* const dbeta_here = partial_beta + size_t(thread) * C;
        for (int c = 0; c < C; c++) dgamma_here[c] = dbeta_here[c] = 0;
        for (size_t r = begin; r < end; r++) {
            const T* const a = x + r * C;
            const T* const g = dy + r * C;
            T* const da = dx + r * C;
            const Accum<T> m = mean[r], s = rstd[r];
            Accum<T> sum = 0, dot = 0;  // sum_p g_p, sum_p g_p z_p
#pragma omp simd reduction(+ : sum, dot)
            for (int c = 0; c < C; c++) {
                sum += gamma[c] * g[c];
                dot += gamma[c] * g[c] * (a[c] - m) * s;
            }
            const Join<T> joined = join.row(r, C, a);
#pragma omp simd
            for (int c = 0; c < C; c++) {
                const Accum<T> z = (a[c] - m) * s, dz = g[c];
                dgamma_here[c] += dz * z;
                dbeta_here[c] += dz;
                da[c] = joined.alpha * joined.with[c] + s * (gamma[c] * dz - sum / C - z * dot / C);
            }
        }
    });
    if (dgamma) add_partials(dgamma, partial, threads, C);
    if (dbeta) add_partials(dbeta, partial_beta, threads, C);
}

#define INSTANTIATE(T)                                                                            \
    template void rmsnorm_forward(T*, Accum<T>*, const T*, const Accum<T>*, int, int, Accum<T>,   \
                                  Join<T>);                                                       \
    template void rmsnorm_backward(T*, Accum<T>*, const T*, const T*, const Accum<T>*,            \
                                   const Accum<T>*, int, int, Join<T>);                           \
    template void layernorm_forward(T*, Accum<T>*, Accum<T>*, const T*, const Accum<T>*,          \
                                    const Accum<T>*, int, int, Accum<T>, Join<T>);                \
    template void layernorm_backward(T*, Accum<T>*, Accum<T>*, const T*, const T*,                \
                                     const Accum<T>*, const Accum<T>*, const Accum<T>*, int, int, \
                                     Join<T>);                                                    \
    template size_t norm_workspace<T>(int);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
#endif
#undef INSTANTIATE

}  // namespace peri
