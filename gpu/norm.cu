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
template <class T, class Value>
__device__ void write_row(T* y, Plus<T> plus, int C, Value value) {
    for (int c = lane_of_thread(); c < C; c += warp_size)
        y[c] = value(c, plus.z ? plus.alpha * plus.z[c] : Accum<T>(0));
}

// ---- sums over rows -----------------------------------------------------------------------------

constexpr int row_parts = 64;  // the rows are summed in so many parts, which are then added up

template <class T>
size_t norm_workspace(int C) {
    return 2 * size_t(row_parts) * C * sizeof(Accum<T>);
}

// partial[part,c] = sum over the part's rows of dy[r,c] z[r,c], and of dy[r,c] in partial_dy where
// that is wanted;   z = (x - mean) rstd, mean null: 0
template <class T>
__global__ void sum_rows_kernel(Accum<T>* partial, Accum<T>* partial_dy, const T* dy, const T* x,
                                const Accum<T>* mean, const Accum<T>* rstd, int R, int C) {
    const size_t part = blockIdx.y, c = first_entry();
    if (c >= size_t(C)) return;
    Accum<T> sum = 0, sum_dy = 0;
    for (size_t r = R * part / row_parts; r < R * (part + 1) / row_parts; r++) {
        const Accum<T> d = dy[r * C + c], m = mean ? mean[r] : 0;
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
template <class T>
void add_parameter_gradients(Accum<T>* dgamma, Accum<T>* dbeta, const T* dy, const T* x,
                             const Accum<T>* mean, const Accum<T>* rstd, int R, int C) {
    if (!dgamma && !dbeta) return;
    Accum<T>* const partial = static_cast<Accum<T>*>(workspace<T>(norm_workspace<T>(C)));
    Accum<T>* const partial_dy = dbeta ? partial + size_t(row_parts) * C : nullptr;
    const dim3 columns((C + block_size - 1) / block_size);
    launch(sum_rows_kernel<T>, dim3(columns.x, row_parts), block_size, 0, partial, partial_dy, dy,
           x, mean, rstd, R, C);
    if (dgamma) launch(add_parts_kernel<Accum<T>>, columns, block_size, 0, dgamma, partial, C);
    if (dbeta) launch(add_parts_kernel<Accum<T>>, columns, block_size, 0, dbeta, partial_dy, C);
}

// ---- RMSNorm ------------------------------------------------------------------------------------

template <class T>
__global__ void rmsnorm_forward_kernel(T* y, Accum<T>* rstd, const T* x, const Accum<T>* gamma,
                                       int R, int C, Accum<T> eps, Plus<T> plus) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const T* const a = x + r * C;
    Accum<T> sum = 0;
    for (int c = lane_of_thread(); c < C; c += warp_size) sum += Accum<T>(a[c]) * a[c];
    const Accum<T> s = reciprocal_root(warp_sum(sum) / C + eps);
    if (lane_of_thread() == 0) rstd[r] = s;
    write_row(y + r * C, plus.row(r, C), C,
              [=](int c, Accum<T> added) { return added + gamma[c] * a[c] * s; });
}

template <class T>
void rmsnorm_forward(T* y, Accum<T>* rstd, const T* x, const Accum<T>* gamma, int R, int C,
                     Accum<T> eps, Plus<T> plus) {
    launch(rmsnorm_forward_kernel<T>, blocks_for_rows(R), block_size, 0, y, rstd, x, gamma, R, C,
           eps, plus);
}

// d_a_q = s gamma_q d_y_q - a_q s^3 / C sum_p gamma_p d_y_p a_p
template <class T>
__global__ void rmsnorm_backward_kernel(T* dx, const T* dy, const T* x, const Accum<T>* gamma,
                                        const Accum<T>* rstd, int R, int C, Plus<T> plus) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const T* const a = x + r * C;
    const T* const d_y = dy + r * C;
    const Accum<T> s = rstd[r];
    Accum<T> dot = 0;
    for (int c = lane_of_thread(); c < C; c += warp_size) dot += gamma[c] * d_y[c] * a[c];
    const Accum<T> along = s * s * s * warp_sum(dot) / C;
    write_row(dx + r * C, plus.row(r, C), C,
              [=](int c, Accum<T> added) { return added + s * gamma[c] * d_y[c] - a[c] * along; });
}

template <class T>
void rmsnorm_backward(T* dx, Accum<T>* dgamma, const T* dy, const T* x, const Accum<T>* gamma,
                      const Accum<T>* rstd, int R, int C, Plus<T> plus) {
    add_parameter_gradients<T>(dgamma, nullptr, dy, x, nullptr, rstd, R, C);  // first: dx may be dy
    launch(rmsnorm_backward_kernel<T>, blocks_for_rows(R), block_size, 0, dx, dy, x, gamma, rstd, R,
           C, plus);
}

// ---- LayerNorm (Appendix G.4) -------------------------------------------------------------------

template <class T>
__global__ void layernorm_forward_kernel(T* y, Accum<T>* mean, Accum<T>* rstd, const T* x,
                                         const Accum<T>* gamma, const Accum<T>* beta, int R, int C,
                                         Accum<T> eps, Plus<T> plus) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const T* const a = x + r * C;
    Accum<T> sum = 0, squares = 0;
    for (int c = lane_of_thread(); c < C; c += warp_size) sum += a[c];
    const Accum<T> m = warp_sum(sum) / C;
    for (int c = lane_of_thread(); c < C; c += warp_size) squares += (a[c] - m) * (a[c] - m);
    const Accum<T> s = reciprocal_root(warp_sum(squares) / C + eps);
    if (lane_of_thread() == 0) {
        mean[r] = m;
        rstd[r] = s;
    }
    write_row(y + r * C, plus.row(r, C), C,
              [=](int c, Accum<T> added) { return added + gamma[c] * (a[c] - m) * s + beta[c]; });
}

template <class T>
void layernorm_forward(T* y, Accum<T>* mean, Accum<T>* rstd, const T* x, const Accum<T>* gamma,
                       const Accum<T>* beta, int R, int C, Accum<T> eps, Plus<T> plus) {
    launch(layernorm_forward_kernel<T>, blocks_for_rows(R), block_size, 0, y, mean, rstd, x, gamma,
           beta, R, C, eps, plus);
}

// d_a_q = s (gamma_q d_y_q - 1/C sum_p gamma_p d_y_p - z_q / C sum_p gamma_p d_y_p z_p)
template <class T>
__global__ void layernorm_backward_kernel(T* dx, const T* dy, const T* x, const Accum<T>* gamma,
                                          const Accum<T>* mean, const Accum<T>* rstd, int R, int C,
                                          Plus<T> plus) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const T* const a = x + r * C;
    const T* const d_y = dy + r * C;
    const Accum<T> m = mean[r], s = rstd[r];
    Accum<T> sum = 0, dot = 0;
    for (int c = lane_of_thread(); c < C; c += warp_size) {
        sum += gamma[c] * d_y[c];
        dot += gamma[c] * d_y[c] * (a[c] - m) * s;
    }
    sum = warp_sum(sum) / C;
    dot = warp_sum(dot) / C;
    write_row(dx + r * C, plus.row(r, C), C, [=](int c, Accum<T> added) {
        return added + s * (gamma[c] * d_y[c] - sum - (a[c] - m) * s * dot);
    });
}

template <class T>
void layernorm_backward(T* dx, Accum<T>* dgamma, Accum<T>* dbeta, const T* dy, const T* x,
                        const Accum<T>* gamma, const Accum<T>* mean, const Accum<T>* rstd, int R,
                        int C, Plus<T> plus) {
    add_parameter_gradients<T>(dgamma, dbeta, dy, x, mean, rstd, R, C);  // first: dx may be dy
    launch(layernorm_backward_kernel<T>, blocks_for_rows(R), block_size, 0, dx, dy, x, gamma, mean,
           rstd, R, C, plus);
}

#define INSTANTIATE(T)                                                                            \
    template void rmsnorm_forward(T*, Accum<T>*, const T*, const Accum<T>*, int, int, Accum<T>,   \
                                  Plus<T>);                                                       \
    template void rmsnorm_backward(T*, Accum<T>*, const T*, const T*, const Accum<T>*,            \
                                   const Accum<T>*, int, int, Plus<T>);                           \
    template void layernorm_forward(T*, Accum<T>*, Accum<T>*, const T*, const Accum<T>*,          \
                                    const Accum<T>*, int, int, Accum<T>, Plus<T>);                \
    template void layernorm_backward(T*, Accum<T>*, Accum<T>*, const T*, const T*,                \
                                     const Accum<T>*, const Accum<T>*, const Accum<T>*, int, int, \
                                     Plus<T>);                                                    \
    template size_t norm_workspace<T>(int);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
