#include <algorithm>
#include <cmath>

#include "device.h"
#include "kernels.h"
#include "parallel.h"

// The derivations are in src/cpu/norm.cpp. A warp takes a row; the sums over rows that dgamma and
// dbeta are have kernels of their own, in which a thread takes a column. RMSNorm, the paper's, has a fast
// path of 16-byte loads, in which backward sums for dgamma on its way.

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

constexpr int row_blocks = 528;  // the rows are summed by so many blocks, in the fast path

// or in so many parts, which are then added up: more where there are few columns, as in a head's norm
int row_parts(int C) {
    const int blocks = (C + block_size - 1) / block_size;
    return std::clamp(row_blocks / 2 / blocks, 64, row_blocks / 2);
}

template <class Real>
size_t norm_workspace(int C) {
    return row_blocks * size_t(C) * sizeof(Accum<Real>);
}

// partial[part,c] = sum over the part's rows of dy[r,c] z[r,c], and of dy[r,c] in partial_dy where
// that is wanted;   z = (x - mean) rstd, mean null: 0
template <class Real>
__global__ void sum_rows_kernel(Accum<Real>* partial, Accum<Real>* partial_dy, const Real* dy,
                                const Real* x, const Accum<Real>* mean, const Accum<Real>* rstd,
                                int R, int C) {
    const size_t part = blockIdx.y, parts = gridDim.y, c = first_entry();
    if (c >= size_t(C)) return;
    Accum<Real> sum = 0, sum_dy = 0;
    for (size_t r = R * part / parts; r < R * (part + 1) / parts; r++) {
        const Accum<Real> d = dy[r * C + c], m = mean ? mean[r] : 0;
        sum += d * (x[r * C + c] - m) * rstd[r];
        sum_dy += d;
    }
    partial[part * C + c] = sum;
    if (partial_dy) partial_dy[part * C + c] = sum_dy;
}

// total[c] += sum over the parts: a thread takes a column and every eighth part
template <class A>
__global__ void add_parts_kernel(A* total, const A* partial, int parts, int C) {
    DYNAMIC_SHARED(A, shared);
    const int group = threadIdx.x / warp_size, c = blockIdx.x * warp_size + lane_of_thread();
    A sum = 0;
    for (int part = group; part < parts && c < C; part += warps_in_block)
        sum += partial[size_t(part) * C + c];
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (group > 0 || c >= C) return;
    for (int g = 1; g < warps_in_block; g++) sum += shared[g * warp_size + lane_of_thread()];
    total[c] += sum;
}

template <class A>
void add_parts(A* total, const A* partial, int parts, int C) {
    launch(add_parts_kernel<A>, dim3((C + warp_size - 1) / warp_size), block_size,
           block_size * sizeof(A), total, partial, parts, C);
}

// dgamma and dbeta (C) accumulated, optional
template <class Real>
void add_parameter_gradients(Accum<Real>* dgamma, Accum<Real>* dbeta, const Real* dy, const Real* x,
                             const Accum<Real>* mean, const Accum<Real>* rstd, int R, int C) {
    if (!dgamma && !dbeta) return;
    Accum<Real>* const partial =
        static_cast<Accum<Real>*>(workspace<Real>(norm_workspace<Real>(C)));
    const int parts = row_parts(C);
    Accum<Real>* const partial_dy = dbeta ? partial + size_t(parts) * C : nullptr;
    const dim3 grid((C + block_size - 1) / block_size, parts);
    launch(sum_rows_kernel<Real>, grid, block_size, 0, partial, partial_dy, dy, x, mean, rstd, R,
           C);
    if (dgamma) add_parts(dgamma, partial, parts, C);
    if (dbeta) add_parts(dbeta, partial_dy, parts, C);
}

// ---- RMSNorm ------------------------------------------------------------------------------------

// Whether rows can be taken in packs of 16 bytes.
template <class Real>
bool rows_begin_wide(int C, const Real* x, const Real* y, const Real* z, const Accum<Real>* gamma) {
    return C % wide<Real> == 0 && begins_wide(x) && begins_wide(y) && begins_wide(z) &&
           begins_wide(gamma);
}

//   numbers moved an entry: 2, and 1 with plus
template <class Real, int W>
__global__ void rmsnorm_forward_kernel(Real* y, Accum<Real>* rstd, const Real* x,
                                       const Accum<Real>* gamma, int R, int C, Accum<Real> eps,
                                       Plus<Real> plus) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const int first = W * lane_of_thread(), stride = W * warp_size;
    x += r * C;
    Accum<Real> sum = 0;
    for (int c = first; c < C; c += stride) {
        const auto a = load<W>(x + c);
        for (int k = 0; k < W; k++) sum += Accum<Real>(a[k]) * a[k];
    }
    const Accum<Real> s = reciprocal_root(warp_sum(sum) / C + eps);
    if (lane_of_thread() == 0) rstd[r] = s;
    const Plus<Real> row = plus.row(r, C);
    for (int c = first; c < C; c += stride) {
        const auto a = load<W>(x + c);
        const auto g = load<W>(gamma + c);
        const auto z = load_if<W>(row.z, row.z + c);
        Pack<Real, W> result;
        for (int k = 0; k < W; k++)
            result[k] = (row.z ? row.alpha * z[k] : Accum<Real>(0)) + g[k] * a[k] * s;
        store(y + r * C + c, result);
    }
}

template <class Real>
void rmsnorm_forward(Real* y, Accum<Real>* rstd, const Real* x, const Accum<Real>* gamma, int R,
                     int C, Accum<Real> eps, Plus<Real> plus) {
    launch(rows_begin_wide(C, x, y, plus.z, gamma) ? rmsnorm_forward_kernel<Real, wide<Real>>
                                                   : rmsnorm_forward_kernel<Real, 1>,
           blocks_for_rows(R), block_size, 0, y, rstd, x, gamma, R, C, eps, plus);
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
    const Accum<Real> along = warp_sum(dot) * s * s * s / C;
    write_row(dx + r * C, plus.row(r, C), C, [=](int c, Accum<Real> added) {
        return added + s * gamma[c] * d_y[c] - a[c] * along;
    });
}

// The same with dgamma's sums: a block takes every row_blocks-th row, a thread the same P packs in each.
//   numbers moved an entry: 3, and 1 with plus
template <class Real, int P>
__global__ void rmsnorm_backward_wide_kernel(Real* dx, Accum<Real>* partial, const Real* dy,
                                             const Real* x, const Accum<Real>* gamma,
                                             const Accum<Real>* rstd, int R, int C,
                                             Plus<Real> plus) {
    constexpr int W = wide<Real>;
    DYNAMIC_SHARED(Accum<Real>, shared);
    const auto column = [](int p) { return W * static_cast<int>(threadIdx.x + p * blockDim.x); };
    Pack<Accum<Real>, W> g[P], sums[P] = {};
    for (int p = 0; p < P; p++) g[p] = load_if<W>(column(p) < C, gamma + column(p));
    for (size_t r = blockIdx.x; r < size_t(R); r += gridDim.x) {
        Pack<Real, W> a[P], d_y[P];
        Accum<Real> dot = 0;
        for (int p = 0; p < P; p++) {
            a[p] = load_if<W>(column(p) < C, x + r * C + column(p));
            d_y[p] = load_if<W>(column(p) < C, dy + r * C + column(p));
            for (int k = 0; k < W; k++) dot += g[p][k] * d_y[p][k] * a[p][k];
        }
        const Accum<Real> s = rstd[r], along = block_sum(dot, shared) * s * s * s / C;
        const Plus<Real> row = plus.row(r, C);
        for (int p = 0; p < P; p++) {
            const auto z = load_if<W>(row.z && column(p) < C, row.z + column(p));
            Pack<Real, W> result;
            for (int k = 0; k < W; k++) {
                const Accum<Real> added = row.z ? row.alpha * z[k] : 0;
                result[k] = added + s * g[p][k] * d_y[p][k] - a[p][k] * along;
                sums[p][k] += d_y[p][k] * a[p][k] * s;
            }
            if (column(p) < C) store(dx + r * C + column(p), result);
        }
    }
    for (int p = 0; p < P; p++)
        if (column(p) < C) store(partial + size_t(blockIdx.x) * C + column(p), sums[p]);
}

template <class Real, int P>
void rmsnorm_backward_wide(Real* dx, Accum<Real>* dgamma, const Real* dy, const Real* x,
                           const Accum<Real>* gamma, const Accum<Real>* rstd, int R, int C,
                           Plus<Real> plus) {
    Accum<Real>* const partial =
        static_cast<Accum<Real>*>(workspace<Real>(norm_workspace<Real>(C)));
    const int packs = C / wide<Real>, per_thread = warp_size * P;
    const int threads = (packs + per_thread - 1) / per_thread * warp_size;
    const int blocks = std::min(R, row_blocks);
    launch(rmsnorm_backward_wide_kernel<Real, P>, dim3(blocks), threads,
           threads / warp_size * sizeof(Accum<Real>), dx, partial, dy, x, gamma, rstd, R, C, plus);
    if (dgamma) add_parts(dgamma, partial, blocks, C);
}

template <class Real>
void rmsnorm_backward(Real* dx, Accum<Real>* dgamma, const Real* dy, const Real* x,
                      const Accum<Real>* gamma, const Accum<Real>* rstd, int R, int C,
                      Plus<Real> plus) {
    const bool aligned = rows_begin_wide(C, x, dx, plus.z, gamma) && begins_wide(dy);
    const int packs = aligned ? C / wide<Real> : 0;
    if (packs >= 64 && packs <= 4 * block_size) {  // fewer are rows for a warp, as heads are
        const auto run = packs <= block_size       ? rmsnorm_backward_wide<Real, 1>
                         : packs <= 2 * block_size ? rmsnorm_backward_wide<Real, 2>
                                                   : rmsnorm_backward_wide<Real, 4>;
        return run(dx, dgamma, dy, x, gamma, rstd, R, C, plus);
    }
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
        const Accum<Real> z = (a[c] - m) * s;
        sum += gamma[c] * d_y[c];
        dot += gamma[c] * d_y[c] * z;
    }
    sum = warp_sum(sum) / C;
    dot = warp_sum(dot) / C;
    write_row(dx + r * C, plus.row(r, C), C, [=](int c, Accum<Real> added) {
        const Accum<Real> z = (a[c] - m) * s;
        return added + s * (gamma[c] * d_y[c] - sum - z * dot);
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
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
