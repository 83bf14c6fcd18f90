#include <cmath>

#include "attention.h"
#include "attention_library.h"
#include "check.h"
#include "device.h"
#include "kernels.h"
#include "parallel.h"

// The plain path, for any type and head size: a warp takes a query (forward, dq) or a key (dk, dv)
// and meets the others 32 at a time, a lane each; then a lane takes entries of the head. Sums have
// one writer and a fixed order.

namespace peri {

template <class A>
__device__ A infinity() {
    return static_cast<A>(HUGE_VAL);
}

// The query of a warp that takes row (b,h,t), and the key/value head that it reads.
struct Query {
    int b, h, t, kv;
};

__device__ inline Query query_of(size_t row, const AttentionShape& s) {
    const int t = static_cast<int>(row % s.Tq), h = static_cast<int>(row / s.Tq % s.H);
    return {static_cast<int>(row / s.Tq / s.H), h, t, h / (s.H / s.KV)};
}

template <class A, class Real>
__device__ A dot(const Real* x, const Real* y, int D) {
    A sum = 0;
    for (int d = 0; d < D; d++) sum += A(x[d]) * y[d];
    return sum;
}

// shared: D numbers a warp, the query's output so far
template <class Real>
__global__ void attention_forward_kernel(Real* out, Accum<Real>* lse, const Real* q, const Real* k,
                                         const Real* v, const int* document, AttentionShape s) {
    using A = Accum<Real>;
    DYNAMIC_SHARED(A, shared);
    const size_t row = row_of_warp();  // (b, h, t)
    if (row >= size_t(s.B) * s.H * s.Tq) return;
    const int lane = lane_of_thread(), D = s.D;
    const auto [b, h, t, kv] = query_of(row, s);
    const Seen seen = seen_by(b, t, document, s);
    const Real* const query = q + at(b, t, h, s.Tq, s.H, D);
    const A scale = 1 / sqrt(A(D));
    A* const sum_pv = shared + (threadIdx.x / warp_size) * D;
    for (int d = lane; d < D; d += warp_size) sum_pv[d] = 0;

    A most = -infinity<A>(), sum = 0;  // the largest score, the sum of exp(score - most)
    for (int j0 = seen.begin; j0 < seen.end; j0 += warp_size) {
        const int j = j0 + lane;
        const bool sees = j < seen.end;
        const A score =
            sees ? scale * dot<A>(query, k + at(b, j, kv, s.Tk, s.KV, D), D) : -infinity<A>();
        const A larger = warp_max(score > most ? score : most);
        const A p = sees ? exp(score - larger) : 0, shrink = exp(most - larger);
        sum = sum * shrink + warp_sum(p);
        most = larger;
        for (int d0 = 0; d0 < D; d0 += warp_size) {
            const int d = d0 + lane;
            A added = 0;
            for (int i = 0; i < warp_size && j0 + i < seen.end; i++) {
                const A p_i = __shfl_sync(all_lanes, p, i);
                if (d < D) added += p_i * A(v[at(b, j0 + i, kv, s.Tk, s.KV, D) + d]);
            }
            if (d < D) sum_pv[d] = sum_pv[d] * shrink + added;
        }
    }
    for (int d = lane; d < D; d += warp_size) out[at(b, t, h, s.Tq, s.H, D) + d] = sum_pv[d] / sum;
    if (lane == 0) lse[row] = most + log(sum);
}

// delta_i = dout_i . out_i
template <class Real>
__global__ void attention_delta_kernel(Accum<Real>* delta, const Real* dout, const Real* out,
                                       AttentionShape s) {
    using A = Accum<Real>;
    const size_t row = row_of_warp();  // (b, h, t)
    if (row >= size_t(s.B) * s.H * s.Tq) return;
    const Query i = query_of(row, s);
    const size_t query = at(i.b, i.t, i.h, s.Tq, s.H, s.D);
    A mine = 0;
    for (int d = lane_of_thread(); d < s.D; d += warp_size)
        mine += A(dout[query + d]) * out[query + d];
    mine = warp_sum(mine);
    if (lane_of_thread() == 0) delta[row] = mine;
}

// With p recomputed from lse:
//   ds_ij = p_ij (dout_i . v_j - delta_i) / sqrt(D),   dq_i = sum_j ds_ij k_j
template <class Real>
__global__ void attention_dq_kernel(Real* dq, const Real* dout, const Real* q, const Real* k,
                                    const Real* v, const Accum<Real>* lse, const Accum<Real>* delta,
                                    const int* document, AttentionShape s) {
    using A = Accum<Real>;
    DYNAMIC_SHARED(A, shared);
    const size_t row = row_of_warp();  // (b, h, t)
    if (row >= size_t(s.B) * s.H * s.Tq) return;
    const int lane = lane_of_thread(), D = s.D;
    const auto [b, h, t, kv] = query_of(row, s);
    const Seen seen = seen_by(b, t, document, s);
    const size_t query = at(b, t, h, s.Tq, s.H, D);
    const A scale = 1 / sqrt(A(D));
    A* const sum_dsk = shared + (threadIdx.x / warp_size) * D;
    for (int d = lane; d < D; d += warp_size) sum_dsk[d] = 0;

    for (int j0 = seen.begin; j0 < seen.end; j0 += warp_size) {
        const int j = j0 + lane;
        A ds = 0;
        if (j < seen.end) {
            const size_t key = at(b, j, kv, s.Tk, s.KV, D);
            const A p = exp(scale * dot<A>(q + query, k + key, D) - lse[row]);
            ds = scale * p * (dot<A>(dout + query, v + key, D) - delta[row]);
        }
        for (int d0 = 0; d0 < D; d0 += warp_size) {
            const int d = d0 + lane;
            A added = 0;
            for (int i = 0; i < warp_size && j0 + i < seen.end; i++) {
                const A ds_i = __shfl_sync(all_lanes, ds, i);
                if (d < D) added += ds_i * A(k[at(b, j0 + i, kv, s.Tk, s.KV, D) + d]);
            }
            if (d < D) sum_dsk[d] += added;
        }
    }
    for (int d = lane; d < D; d += warp_size) dq[query + d] = sum_dsk[d];
}

// dv_j = sum_i p_ij dout_i,   dk_j = sum_i ds_ij q_i, over the queries of all heads that read key j
template <class Real>
__global__ void attention_dkv_kernel(Real* dk, Real* dv, const Real* dout, const Real* q,
                                     const Real* k, const Real* v, const Accum<Real>* lse,
                                     const Accum<Real>* delta, const int* document,
                                     AttentionShape s) {
    using A = Accum<Real>;
    DYNAMIC_SHARED(A, shared);
    const size_t row = row_of_warp();  // (b, j, kv), as the keys lie
    if (row >= size_t(s.B) * s.Tk * s.KV) return;
    const int lane = lane_of_thread(), D = s.D, group = s.H / s.KV;
    const int kv = static_cast<int>(row % s.KV), j = static_cast<int>(row / s.KV % s.Tk);
    const int b = static_cast<int>(row / s.KV / s.Tk);
    const size_t key = row * D;
    const A scale = 1 / sqrt(A(D));
    A* const sum_dk = shared + (threadIdx.x / warp_size) * 2 * D;
    A* const sum_dv = sum_dk + D;
    for (int d = lane; d < D; d += warp_size) sum_dk[d] = sum_dv[d] = 0;

    const int first_query = j > s.first ? j - s.first : 0;
    for (int h = kv * group; h < (kv + 1) * group; h++)
        for (int t0 = first_query; t0 < s.Tq; t0 += warp_size) {
            const int t = t0 + lane;
            A p = 0, ds = 0;
            if (t < s.Tq && seen_by(b, t, document, s).begin <= j) {
                const size_t query = at(b, t, h, s.Tq, s.H, D);
                const size_t entry = entry_at(b, h, t, s);
                p = exp(scale * dot<A>(q + query, k + key, D) - lse[entry]);
                ds = scale * p * (dot<A>(dout + query, v + key, D) - delta[entry]);
            }
            for (int d0 = 0; d0 < D; d0 += warp_size) {
                const int d = d0 + lane;
                A added_k = 0, added_v = 0;
                for (int i = 0; i < warp_size && t0 + i < s.Tq; i++) {
                    const A p_i = __shfl_sync(all_lanes, p, i);
                    const A ds_i = __shfl_sync(all_lanes, ds, i);
                    if (d >= D) continue;
                    const size_t query = at(b, t0 + i, h, s.Tq, s.H, D) + d;
                    added_v += p_i * A(dout[query]);
                    added_k += ds_i * A(q[query]);
                }
                if (d < D) {
                    sum_dk[d] += added_k;
                    sum_dv[d] += added_v;
                }
            }
        }
    for (int d = lane; d < D; d += warp_size) {
        dk[key + d] = sum_dk[d];
        dv[key + d] = sum_dv[d];
    }
}

// ---- who computes a shape -----------------------------------------------------------------------

namespace {

AttentionBy attention_by = AttentionBy::automatic;

// Compute capability of the GPU, or, where a run is planned without one, of Hopper.
struct Capability {
    int major, minor;
};

Capability capability() {
    static const Capability found = []() -> Capability {
        int count = 0;
        cudaDeviceProp properties;
        if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return {9, 0};
        CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
        return {properties.major, properties.minor};
    }();
    return found;
}

// Beside data centres' GPUs a block has 99 KiB of shared memory, which the tiles of heads above 80 exceed.
bool by_tiles(int D) {
    const auto [major, minor] = capability();
    const bool large = major == 9 || major == 10 || (major == 8 && (minor == 0 || minor == 7));
    return tiles_take(D) && (D <= 80 || large);
}

template <class Real>
bool by_library(const AttentionShape& s, const int* document) {
    return std::is_same_v<Real, bf16> && library_version() != 0 &&
           library_chosen(attention_by, s, document != nullptr, capability().major);
}

}  // namespace

void set_attention(AttentionBy by) {
    if (by == AttentionBy::library && library_version() == 0)
        throw UserError(
            "--attention library: this program was built without cuDNN: use auto or tiles, or "
            "install "
            "cuDNN, run `make deps-cudnn` and build train_cuda again");
    attention_by = by;
}

template <class Real>
size_t attention_workspace(AttentionShape s) {
    const size_t delta = size_t(s.B) * s.H * s.Tq * sizeof(Accum<Real>);
    return by_library<Real>(s, nullptr) ? std::max(delta, library_scratch(s)) : delta;
}

template <class Real>
void attention_forward(Real* out, Accum<Real>* lse, const Real* q, const Real* k, const Real* v,
                       const int* document, AttentionShape s) {
    if constexpr (std::is_same_v<Real, bf16>)
        if (by_library<Real>(s, document)) return library_forward(out, lse, q, k, v, s);
    if constexpr (!std::is_same_v<Real, float>)
        if (by_tiles(s.D)) return attention_tiles_forward(out, lse, q, k, v, document, s);
    launch(attention_forward_kernel<Real>, blocks_for_rows(size_t(s.B) * s.H * s.Tq), block_size,
           warps_in_block * s.D * sizeof(Accum<Real>), out, lse, q, k, v, document, s);
}

template <class Real>
void attention_backward(Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out,
                        const Real* q, const Real* k, const Real* v, const Accum<Real>* lse,
                        const int* document, AttentionShape s) {
    if constexpr (std::is_same_v<Real, bf16>)
        if (by_library<Real>(s, document))
            return library_backward(dq, dk, dv, dout, out, q, k, v, lse, s);
    Accum<Real>* const delta =
        static_cast<Accum<Real>*>(workspace<Real>(attention_workspace<Real>(s)));
    const dim3 queries = blocks_for_rows(size_t(s.B) * s.H * s.Tq);
    const dim3 keys = blocks_for_rows(size_t(s.B) * s.Tk * s.KV);
    launch(attention_delta_kernel<Real>, queries, block_size, 0, delta, dout, out, s);
    if constexpr (!std::is_same_v<Real, float>)
        if (by_tiles(s.D))
            return attention_tiles_backward(dq, dk, dv, dout, q, k, v, lse, delta, document, s);
    const size_t of_head = warps_in_block * s.D * sizeof(Accum<Real>);
    launch(attention_dq_kernel<Real>, queries, block_size, of_head, dq, dout, q, k, v, lse, delta,
           document, s);
    launch(attention_dkv_kernel<Real>, keys, block_size, 2 * of_head, dk, dv, dout, q, k, v, lse,
           delta, document, s);
}

#define INSTANTIATE(Real)                                                                        \
    template size_t attention_workspace<Real>(AttentionShape);                                   \
    template void attention_forward(Real*, Accum<Real>*, const Real*, const Real*, const Real*,  \
                                    const int*, AttentionShape);                                 \
    template void attention_backward(Real*, Real*, Real*, const Real*, const Real*, const Real*, \
                                     const Real*, const Real*, const Accum<Real>*, const int*,   \
                                     AttentionShape);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
