#include <algorithm>
#include <cmath>

#include "device.h"
#include "kernels.h"
#include "parallel.h"

// The derivations are in src/cpu/norm.cpp. A warp takes a row; the sums over rows that dgamma and
// dbeta are have kernels of their own, in which a thread takes a column.

namespace peri {

// 1 / sqrt(mean square), and NaN where the sum of squares has overflowed: 1 / inf = 0 would turn a
// hidden state that has exploded into a calm row of zeros.
__device__ inline float reciprocal_root(float mean_square) {
    return mean_square <= 3.402823466e38f ? 1 / sqrtf(mean_square) : NAN;
}

// One row, by a warp: y[c] = value(c, added), added being alpha z[c], or 0 where nothing is added.
template <class Real, class Value>
__device__ void write_row(Real* y, Plus<Real> plus, int C, Value value) {
    for (int c = lane_of_thread(); c < C; c += warp_size)
        y[c] = value(c, plus.z ? plus.alpha * plus.z[c] : Accum<Real>(0));
}

// ---- sums over rows -----------------------------------------------------------------------------

constexpr int row_parts = 64;  // the rows are summed in so many parts, which are then added up

template <class Real>
size_t norm_workspace(int C) {
    return 2 * size_t(row_parts) * C * sizeof(Accum<Real>);
}

// partial[part,c] = sum over the part's rows of dy[r,c] z[r,c], and of dy[r,c] in partial_dy where
// that is wanted;   z = (x - mean) rstd, mean null: 0
template <class Real>
__global__ void sum_rows_kernel(Accum<Real>* partial, Accum<Real>* partial_dy, const Real* dy,
                                const Real* x, const Accum<Real>* mean, const Accum<Real>* rstd,
                                int R, int C) {
    const size_t part = blockIdx.y, c = first_entry();
    if (c >= size_t(C)) return;
    Accum<Real> sum = 0, sum_dy = 0;
    for (size_t r = R * part / row_parts; r < R * (part + 1) / row_parts; r++) {
        const Accum<Real> d = dy[r * C + c], m = mean ? mean[r] : 0;
        sum += d * (x[r * C + c] - m) * rstd[r];
        sum_dy += d;
    }
    partial[part * C + c] = sum;
    if (partial_dy) partial_dy[part * C + c] = sum_dy;
}

// total[c] += sum over the parts, in their order
template <class A>
__global__ void add_parts_kernel(A* total, const A* partial, int C) {
    const size_t c = first_entry();
    if (c >= size_t(C)) return;
    A sum = total[c];
    for (int part = 0; part < row_parts; part++) sum += partial[size_t(part) * C + c];
    total[c] = sum;
}

// dgamma and dbeta (C) accumulated, optional
template <class Real>
void add_parameter_gradients(Accum<Real>* dgamma, Accum<Real>* dbeta, const Real* dy, const Real* x,
                             const Accum<Real>* mean, const Accum<Real>* rstd, int R, int C) {
    if (!dgamma && !dbeta) return;
    Accum<Real>* const partial =
        static_cast<Accum<Real>*>(workspace<Real>(norm_workspace<Real>(C)));
    Accum<Real>* const partial_dy = dbeta ? partial + size_t(row_parts) * C : nullptr;
    const dim3 columns((C + block_size - 1) / block_size);
    launch(sum_rows_kernel<Real>, dim3(columns.x, row_parts), block_size, 0, partial, partial_dy,
           dy, x, mean, rstd, R, C);
    if (dgamma) launch(add_parts_kernel<Accum<Real>>, columns, block_size, 0, dgamma, partial, C);
    if (dbeta) launch(add_parts_kernel<Accum<Real>>, columns, block_size, 0, dbeta, partial_dy, C);
}

// ---- RMSNorm ------------------------------------------------------------------------------------

template <class Real>
__global__ void rmsnorm_forward_kernel(Real* y, Accum<Real>* rstd, const Real* x,
                                       const Accum<Real>* gamma, int R, int C, Accum<Real> eps,
                                       Plus<Real> plus) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const Real* const a = x + r * C;
    Accum<Real> sum = 0;
    for (int c = lane_of_thread(); c < C; c += warp_size) sum += Accum<Real>(a[c]) * a[c];
    const Accum<Real> s = reciprocal_root(warp_sum(sum) / C + eps);
    if (lane_of_thread() == 0) rstd[r] = s;
    write_row(y + r * C, plus.row(r, C), C,
              [=](int c, Accum<Real> added) { return added + gamma[c] * a[c] * s; });
}

template <class Real>
void rmsnorm_forward(Real* y, Accum<Real>* rstd, const Real* x, const Accum<Real>* gamma, int R,
                     int C, Accum<Real> eps, Plus<Real> plus) {
    launch(rmsnorm_forward_kernel<Real>, blocks_for_rows(R), block_size, 0, y, rstd, x, gamma, R, C,
           eps, plus);
}

// d_a_q = s gamma_q d_y_q - a_q s^3 / C sum_p gamma_p d_y_p a_p
template <class Real>
__global__ void rmsnorm_backward_kernel(Real* dx, const Real* dy, const Real* x,
                                        const Accum<Real>* gamma, const Accum<Real>* rstd, int R,
                                        int C, Plus<Real> plus) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const Real* const a = x + r * C;
    const Real* const d_y = dy + r * C;
    const Accum<Real> s = rstd[r];
    Accum<Real> dot = 0;
    for (int c = lane_of_thread(); c < C; c += warp_size) dot += gamma[c] * d_y[c] * a[c];
    const Accum<Real> along = s * s * s * warp_sum(dot) / C;
    write_row(dx + r * C, plus.row(r, C), C, [=](int c, Accum<Real> added) {
        return added + s * gamma[c] * d_y[c] - a[c] * along;
    });
}

template <class Real>
void rmsnorm_backward(Real* dx, Accum<Real>* dgamma, const Real* dy, const Real* x,
                      const Accum<Real>* gamma, const Accum<Real>* rstd, int R, int C,
                      Plus<Real> plus) {
    add_parameter_gradients<Real>(dgamma, nullptr, dy, x, nullptr, rstd, R,
                                  C);  // first: dx may be dy
    launch(rmsnorm_backward_kernel<Real>, blocks_for_rows(R), block_size, 0, dx, dy, x, gamma, rstd,
           R, C, plus);
}

// ---- LayerNorm (Appendix G.4) -------------------------------------------------------------------

template <class Real>
__global__ void layernorm_forward_kernel(Real* y, Accum<Real>* mean, Accum<Real>* rstd,
                                         const Real* x, const Accum<Real>* gamma,
                                         const Accum<Real>* beta, int R, int C, Accum<Real> eps,
                                         Plus<Real> plus) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const Real* const a = x + r * C;
    Accum<Real> sum = 0, squares = 0;
    for (int c = lane_of_thread(); c < C; c += warp_size) sum += a[c];
    const Accum<Real> m = warp_sum(sum) / C;
    for (int c = lane_of_thread(); c < C; c += warp_size) squares += (a[c] - m) * (a[c] - m);
    const Accum<Real> s = reciprocal_root(warp_sum(squares) / C + eps);
    if (lane_of_thread() == 0) {
        mean[r] = m;
        rstd[r] = s;
    }
    write_row(y + r * C, plus.row(r, C), C, [=](int c, Accum<Real> added) {
        return added + gamma[c] * (a[c] - m) * s + beta[c];
    });
}

template <class Real>
void layernorm_forward(Real* y, Accum<Real>* mean, Accum<Real>* rstd, const Real* x,
                       const Accum<Real>* gamma, const Accum<Real>* beta, int R, int C,
                       Accum<Real> eps, Plus<Real> plus) {
    launch(layernorm_forward_kernel<Real>, blocks_for_rows(R), block_size, 0, y, mean, rstd, x,
           gamma, beta, R, C, eps, plus);
}

// d_a_q = s (gamma_q d_y_q - 1/C sum_p gamma_p d_y_p - z_q / C sum_p gamma_p d_y_p z_p)
template <class Real>
__global__ void layernorm_backward_kernel(Real* dx, const Real* dy, const Real* x,
                                          const Accum<Real>* gamma, const Accum<Real>* mean,
                                          const Accum<Real>* rstd, int R, int C, Plus<Real> plus) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const Real* const a = x + r * C;
    const Real* const d_y = dy + r * C;
    const Accum<Real> m = mean[r], s = rstd[r];
    Accum<Real> sum = 0, dot = 0;
    for (int c = lane_of_thread(); c < C; c += warp_size) {
        sum += gamma[c] * d_y[c];
        dot += gamma[c] * d_y[c] * (a[c] - m) * s;
    }
    sum = warp_sum(sum) / C;
    dot = warp_sum(dot) / C;
    write_row(dx + r * C, plus.row(r, C), C, [=](int c, Accum<Real> added) {
        return added + s * (gamma[c] * d_y[c] - sum - (a[c] - m) * s * dot);
    });
}

template <class Real>
void layernorm_backward(Real* dx, Accum<Real>* dgamma, Accum<Real>* dbeta, const Real* dy,
                        const Real* x, const Accum<Real>* gamma, const Accum<Real>* mean,
                        const Accum<Real>* rstd, int R, int C, Plus<Real> plus) {
    add_parameter_gradients<Real>(dgamma, dbeta, dy, x, mean, rstd, R, C);  // first: dx may be dy
    launch(layernorm_backward_kernel<Real>, blocks_for_rows(R), block_size, 0, dx, dy, x, gamma,
           mean, rstd, R, C, plus);
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
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
