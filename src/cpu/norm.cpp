#include <algorithm>
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

// One row: y[c] = value(c, added), added being alpha z[c], or 0 where nothing is added.
template <class Real, class Value>
void write_row(Real* y, Plus<Real> plus, int C, Value value) {
    if (plus.z) {
#pragma omp simd
        for (int c = 0; c < C; c++) y[c] = value(c, plus.alpha * plus.z[c]);
    } else {
#pragma omp simd
        for (int c = 0; c < C; c++) y[c] = value(c, Accum<Real>(0));
    }
}

// Adds the threads' partial sums, partial (threads,C), to total (C), always in the same order.
template <class A>
void add_partials(A* total, const A* partial, int threads, int C) {
    for (int t = 0; t < threads; t++)
        for (int c = 0; c < C; c++) total[c] += partial[size_t(t) * C + c];
}

}  // namespace

template <class Real>
size_t norm_workspace(int C) {
    return 2 * size_t(get_threads()) * C * sizeof(Accum<Real>);
}

// ---- RMSNorm: the norm of the paper -------------------------------------------------------------
//
// Forward, one row a of C numbers (the paper's D; Eqs. 25, 26):
//
//     y_p = gamma_p a_p s,    s = (ms + eps)^(-1/2),    ms = 1/C sum_k a_k^2
//
// Backward. Since ds/da_q = -s^3 a_q / C, the Jacobian is (Eqs. 27 to 30; one gamma per channel)
//
//     J_pq = dy_p / da_q = gamma_p (s delta_pq - s^3 a_p a_q / C)
//
// a multiple of the identity less a rank-one matrix. It is never formed: with the loss's gradients
// d_y_p = dL/dy_p and d_a_q = dL/da_q,
//
//     d_a_q = sum_p d_y_p J_pq = s gamma_q d_y_q - a_q s^3 / C sum_p gamma_p d_y_p a_p
//
// which for eps = 0 is s times (gamma d_y less its component along a). Hence Proposition 3.1: the
// gradient that leaves an output norm is at most gamma / sqrt(ms + eps) times the one that enters it,
// so a massive module output a damps its own gradient.

template <class Real>
void rmsnorm_forward(Real* y, Accum<Real>* rstd, const Real* x, const Accum<Real>* gamma, int R,
                     int C, Accum<Real> eps, Plus<Real> plus) {
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++) {
        const Real* const a = x + size_t(r) * C;
        Accum<Real> squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int c = 0; c < C; c++) squares += a[c] * a[c];
        const Accum<Real> ms = squares / C, s = reciprocal_root(ms + eps);
        rstd[r] = s;
        write_row(y + size_t(r) * C, plus.row(r, C), C,
                  [=](int c, Accum<Real> added) { return added + gamma[c] * a[c] * s; });
    }
}

template <class Real>
void rmsnorm_backward(Real* dx, Accum<Real>* dgamma, const Real* dy, const Real* x,
                      const Accum<Real>* gamma, const Accum<Real>* rstd, int R, int C,
                      Plus<Real> plus) {
    Accum<Real>* const partial =
        static_cast<Accum<Real>*>(workspace<Real>(norm_workspace<Real>(C)));
    const int threads = parallel_ranges(R, [=](size_t begin, size_t end, int thread) {
        Accum<Real>* const d_gamma = partial + size_t(thread) * C;
        std::fill(d_gamma, d_gamma + C, Accum<Real>(0));
        for (size_t r = begin; r < end; r++) {
            const Real* const a = x + r * C;
            const Real* const d_y = dy + r * C;
            const Accum<Real> s = rstd[r];
            Accum<Real> dot = 0;  // sum_p gamma_p d_y_p a_p
#pragma omp simd reduction(+ : dot)
            for (int c = 0; c < C; c++) {
                dot += gamma[c] * d_y[c] * a[c];
                d_gamma[c] += d_y[c] * a[c] * s;
            }
            const Accum<Real> along = dot * s * s * s / C;  // s^3 alone would underflow early
            write_row(dx + r * C, plus.row(r, C), C, [=](int c, Accum<Real> added) {
                return added + s * gamma[c] * d_y[c] - a[c] * along;
            });
        }
    });
    if (dgamma) add_partials(dgamma, partial, threads, C);
}

// ---- LayerNorm (Appendix G.4) -------------------------------------------------------------------
//
// With z_p = (a_p - mean) s,  s = (var + eps)^(-1/2),  y_p = gamma_p z_p + beta_p:
//
//     d_a_q = s (gamma_q d_y_q - 1/C sum_p gamma_p d_y_p - z_q / C sum_p gamma_p d_y_p z_p)
//
// RMSNorm's backward on centred numbers, itself centred.

template <class Real>
void layernorm_forward(Real* y, Accum<Real>* mean, Accum<Real>* rstd, const Real* x,
                       const Accum<Real>* gamma, const Accum<Real>* beta, int R, int C,
                       Accum<Real> eps, Plus<Real> plus) {
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++) {
        const Real* const a = x + size_t(r) * C;
        Accum<Real> sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (int c = 0; c < C; c++) sum += a[c];
        const Accum<Real> m = sum / C;
#pragma omp simd reduction(+ : squares)
        for (int c = 0; c < C; c++) squares += (a[c] - m) * (a[c] - m);
        const Accum<Real> s = reciprocal_root(squares / C + eps);
        mean[r] = m;
        rstd[r] = s;
        write_row(y + size_t(r) * C, plus.row(r, C), C, [=](int c, Accum<Real> added) {
            return added + gamma[c] * (a[c] - m) * s + beta[c];
        });
    }
}

template <class Real>
void layernorm_backward(Real* dx, Accum<Real>* dgamma, Accum<Real>* dbeta, const Real* dy,
                        const Real* x, const Accum<Real>* gamma, const Accum<Real>* mean,
                        const Accum<Real>* rstd, int R, int C, Plus<Real> plus) {
    Accum<Real>* const partial =
        static_cast<Accum<Real>*>(workspace<Real>(norm_workspace<Real>(C)));
    Accum<Real>* const partial_beta = partial + size_t(get_threads()) * C;
    const int threads = parallel_ranges(R, [=](size_t begin, size_t end, int thread) {
        Accum<Real>* const d_gamma = partial + size_t(thread) * C;
        Accum<Real>* const d_beta = partial_beta + size_t(thread) * C;
        std::fill(d_gamma, d_gamma + C, Accum<Real>(0));
        std::fill(d_beta, d_beta + C, Accum<Real>(0));
        for (size_t r = begin; r < end; r++) {
            const Real* const a = x + r * C;
            const Real* const d_y = dy + r * C;
            const Accum<Real> m = mean[r], s = rstd[r];
            Accum<Real> sum = 0, dot = 0;  // sum_p gamma_p d_y_p, sum_p gamma_p d_y_p z_p
#pragma omp simd reduction(+ : sum, dot)
            for (int c = 0; c < C; c++) {
                const Accum<Real> z = (a[c] - m) * s;
                sum += gamma[c] * d_y[c];
                dot += gamma[c] * d_y[c] * z;
                d_gamma[c] += d_y[c] * z;
                d_beta[c] += d_y[c];
            }
            sum /= C, dot /= C;
            write_row(dx + r * C, plus.row(r, C), C, [=](int c, Accum<Real> added) {
                const Accum<Real> z = (a[c] - m) * s;
                return added + s * (gamma[c] * d_y[c] - sum - z * dot);
            });
        }
    });
    if (dgamma) add_partials(dgamma, partial, threads, C);
    if (dbeta) add_partials(dbeta, partial_beta, threads, C);
}

#define INSTANTIATE(Real)                                                                          \
    template void rmsnorm_forward(Real*, Accum<Real>*, const Real*, const Accum<Real>*, int, int,  \
                                  Accum<Real>, Plus<Real>);                                        \
    template void rmsnorm_backward(Real*, Accum<Real>*, const Real*, const Real*,                  \
                                   const Accum<Real>*, const Accum<Real>*, int, int, Plus<Real>);  \
    template void layernorm_forward(Real*, Accum<Real>*, Accum<Real>*, const Real*,                \
                                    const Accum<Real>*, const Accum<Real>*, int, int, Accum<Real>, \
                                    Plus<Real>);                                                   \
    template void layernorm_backward(Real*, Accum<Real>*, Accum<Real>*, const Real*, const Real*,  \
                                     const Accum<Real>*, const Accum<Real>*, const Accum<Real>*,   \
                                     int, int, Plus<Real>);                                        \
    template size_t norm_workspace<Real>(int);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#endif
#undef INSTANTIATE

}  // namespace peri
