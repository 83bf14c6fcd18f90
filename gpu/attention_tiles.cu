#include <cmath>

#include "attention.h"
#include "check.h"
#include "mma.h"

// A block of four warps owns 64 rows, 16 a warp: queries (forward, dq) or keys (dk and dv). It
// meets the others a tile at a time in shared memory. Scores and their gradients live in registers
// only and are computed again in backward; every sum has one writer and a fixed order.

namespace peri {

namespace {

constexpr int tile_warps = 4, own_rows = 16 * tile_warps, tile_threads = warp_size * tile_warps;
constexpr float log2_of_e = 1.44269504f;

template <int D>
struct Rows {
    // keys or queries met at a time: what a warp has of them must fit its registers
    static constexpr int met_keys = D <= 128 ? 64 : 32, met_queries = D <= 64 ? 64 : 32;
    static constexpr int pitch = D + 8;  // numbers; 8 rows then lie in different banks
};

// rows x D numbers into shared memory, from row `first` on of an array with `stride` from row to
// row; zeros from row `end` on.
template <int D>
__device__ void load_rows(bf16* to, const bf16* from, size_t stride, int first, int rows, int end) {
    constexpr int parts = D / 8;  // of 16 bytes
    for (int i = threadIdx.x; i < rows * parts; i += tile_threads) {
        const int row = i / parts, column = i % parts * 8;
        uint4 eight = {0, 0, 0, 0};
        if (first + row < end)
            eight = *reinterpret_cast<const uint4*>(from + (first + row) * stride + column);
        *reinterpret_cast<uint4*>(to + row * Rows<D>::pitch + column) = eight;
    }
}

// What the warp has summed up for its 16 rows, times factor[row in the lane], to rows first ..
template <int D>
__device__ void store_rows(bf16* to, size_t stride, int first, int end, const Tile<D>& sum,
                           const float (&factor)[2]) {
#pragma unroll
    for (int n = 0; n < D; n += 8)
#pragma unroll
        for (int e = 0; e < 4; e += 2) {
            const int row = first + row_of_entry(e);
            if (row < end)
                *reinterpret_cast<unsigned*>(to + row * stride + n + column_of_entry(e)) =
                    pack(sum[n / 8][e] * factor[e / 2], sum[n / 8][e + 1] * factor[e / 2]);
        }
}

// The block's place: blockIdx.x a tile of own rows, blockIdx.y a sequence and head of `heads`. The
// last tiles come first, since most work is theirs.
struct Place {
    int b, head, first;
};
__device__ inline Place place_of_block(int heads) {
    return {static_cast<int>(blockIdx.y) / heads, static_cast<int>(blockIdx.y) % heads,
            static_cast<int>(gridDim.x - 1 - blockIdx.x) * own_rows};
}

// What the warp's queries see, two a lane; a row behind the last query sees nothing.
struct SeenByLane {
    Seen of[2];
    __device__ bool sees(int e, int j) const { return of[e / 2].begin <= j && j < of[e / 2].end; }
};
__device__ inline SeenByLane seen_by_lane(int b, int first, const int* document,
                                          const AttentionShape& s) {
    SeenByLane seen;
    for (const int i : {0, 1}) {
        const int t = first + row_of_entry(2 * i);
        seen.of[i] = t < s.Tq ? seen_by(b, t, document, s) : Seen{0, 0};
    }
    return seen;
}

// The first key that any query of the block sees, down to a whole tile.
__device__ inline int first_tile(int b, int first, const int* document, const AttentionShape& s,
                                 int tile) {
    int begin = s.Tk;
    for (int t = first; t < first + own_rows && t < s.Tq; t++) {
        const int seen = seen_by(b, t, document, s).begin;
        begin = seen < begin ? seen : begin;
    }
    return begin / tile * tile;
}

__device__ inline int least(int x, int y) { return x < y ? x : y; }

// ---- forward ------------------------------------------------------------------------------------

// Turns the scores (16,N) of keys j0 .. into p = exp(scale score - most), with `most` the largest
// score of the row so far, in units of log 2; what was summed before shrinks with it.
template <int N, int D>
__device__ void online_softmax(Tile<N>& scores, Tile<D>& sum_pv, float (&most)[2], float (&sum)[2],
                               const SeenByLane& seen, int j0, float scale) {
    float larger[2] = {most[0], most[1]};
#pragma unroll
    for (int n = 0; n < N; n += 8)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float& score = scores[n / 8][e];
            score = seen.sees(e, j0 + n + column_of_entry(e)) ? score * scale : -INFINITY;
            larger[e / 2] = score > larger[e / 2] ? score : larger[e / 2];
        }
    float shrink[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        larger[i] = row_max(larger[i]);
        const float base = larger[i] == -INFINITY ? 0 : larger[i];  // a row that saw nothing yet
        shrink[i] = exp2f(most[i] - base);
        most[i] = larger[i];
        larger[i] = base;
        sum[i] *= shrink[i];
    }
#pragma unroll
    for (int n = 0; n < N; n += 8)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            scores[n / 8][e] = exp2f(scores[n / 8][e] - larger[e / 2]);
            sum[e / 2] += scores[n / 8][e];
        }
#pragma unroll
    for (int n = 0; n < D; n += 8)
#pragma unroll
        for (int e = 0; e < 4; e++) sum_pv[n / 8][e] *= shrink[e / 2];
}

// shared: own queries, met keys and values
template <int D>
__global__ void __launch_bounds__(tile_threads)
    attention_tiles_forward_kernel(bf16* out, float* lse, const bf16* q, const bf16* k,
                                   const bf16* v, const int* document, AttentionShape s) {
    constexpr int met = Rows<D>::met_keys, pitch = Rows<D>::pitch;
    DYNAMIC_SHARED(bf16, queries);
    bf16* const keys = queries + own_rows * pitch;
    bf16* const values = keys + met * pitch;
    const auto [b, h, first] = place_of_block(s.H);
    const int kv = h / (s.H / s.KV), warp_row = threadIdx.x / warp_size * 16;
    const size_t stride = size_t(s.H) * D, kv_stride = size_t(s.KV) * D;
    const bf16* const all_keys = k + at(b, 0, kv, s.Tk, s.KV, D);
    const bf16* const all_values = v + at(b, 0, kv, s.Tk, s.KV, D);
    load_rows<D>(queries, q + at(b, 0, h, s.Tq, s.H, D), stride, first, own_rows, s.Tq);

    const SeenByLane seen = seen_by_lane(b, first + warp_row, document, s);
    const int end = s.first + least(first + own_rows, s.Tq);
    Tile<D> sum_pv = {};
    float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    for (int j0 = first_tile(b, first, document, s, met); j0 < end; j0 += met) {
        __syncthreads();  // all warps are done with the tile before
        load_rows<D>(keys, all_keys, kv_stride, j0, met, s.Tk);
        load_rows<D>(values, all_values, kv_stride, j0, met, s.Tk);
        __syncthreads();
        Tile<met> p = {};
        add_matmul_transposed<met, D>(p, queries + warp_row * pitch, keys, pitch);
        online_softmax<met, D>(p, sum_pv, most, sum, seen, j0, log2_of_e / sqrtf(D));
        add_matmul<D, met>(sum_pv, p, values, pitch);
    }

    float inverse[2];
    for (const int i : {0, 1}) {
        sum[i] = row_sum(sum[i]);
        inverse[i] = 1 / sum[i];
        const int t = first + warp_row + row_of_entry(2 * i);
        if (t < s.Tq && threadIdx.x % 4 == 0)
            lse[entry_at(b, h, t, s)] = (most[i] + log2f(sum[i])) / log2_of_e;
    }
    store_rows<D>(out + at(b, 0, h, s.Tq, s.H, D), stride, first + warp_row, s.Tq, sum_pv, inverse);
}

// ---- backward -----------------------------------------------------------------------------------
//
// With p recomputed from lse:   ds_ij = p_ij (dout_i . v_j - delta_i),   and times 1 / sqrt(D)
//   dq_i = sum_j ds_ij k_j,   dk_j = sum_i ds_ij q_i;   dv_j = sum_i p_ij dout_i

// shared: own queries and their douts, met keys and values
template <int D>
__global__ void __launch_bounds__(tile_threads)
    attention_tiles_dq_kernel(bf16* dq, const bf16* dout, const bf16* q, const bf16* k,
                              const bf16* v, const float* lse, const float* delta,
                              const int* document, AttentionShape s) {
    constexpr int met = Rows<D>::met_keys, pitch = Rows<D>::pitch;
    DYNAMIC_SHARED(bf16, queries);
    bf16* const douts = queries + own_rows * pitch;
    bf16* const keys = douts + own_rows * pitch;
    bf16* const values = keys + met * pitch;
    const auto [b, h, first] = place_of_block(s.H);
    const int kv = h / (s.H / s.KV), warp_row = threadIdx.x / warp_size * 16;
    const size_t stride = size_t(s.H) * D, kv_stride = size_t(s.KV) * D;
    const bf16* const all_keys = k + at(b, 0, kv, s.Tk, s.KV, D);
    const bf16* const all_values = v + at(b, 0, kv, s.Tk, s.KV, D);
    load_rows<D>(queries, q + at(b, 0, h, s.Tq, s.H, D), stride, first, own_rows, s.Tq);
    load_rows<D>(douts, dout + at(b, 0, h, s.Tq, s.H, D), stride, first, own_rows, s.Tq);

    const SeenByLane seen = seen_by_lane(b, first + warp_row, document, s);
    const float scale = 1 / sqrtf(D);
    float lse2[2], delta_i[2];  // lse in units of log 2
    for (const int i : {0, 1}) {
        const int t = first + warp_row + row_of_entry(2 * i);
        lse2[i] = t < s.Tq ? lse[entry_at(b, h, t, s)] * log2_of_e : 0;
        delta_i[i] = t < s.Tq ? delta[entry_at(b, h, t, s)] : 0;
    }
    const int end = s.first + least(first + own_rows, s.Tq);
    Tile<D> sum_dsk = {};
    for (int j0 = first_tile(b, first, document, s, met); j0 < end; j0 += met) {
        __syncthreads();  // all warps are done with the tile before
        load_rows<D>(keys, all_keys, kv_stride, j0, met, s.Tk);
        load_rows<D>(values, all_values, kv_stride, j0, met, s.Tk);
        __syncthreads();
        Tile<met> p = {}, ds = {};
        add_matmul_transposed<met, D>(p, queries + warp_row * pitch, keys, pitch);
        add_matmul_transposed<met, D>(ds, douts + warp_row * pitch, values, pitch);
#pragma unroll
        for (int n = 0; n < met; n += 8)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float score2 = p[n / 8][e] * scale * log2_of_e - lse2[e / 2];
                const bool sees = seen.sees(e, j0 + n + column_of_entry(e));
                ds[n / 8][e] = sees ? exp2f(score2) * (ds[n / 8][e] - delta_i[e / 2]) : 0;
            }
        add_matmul<D, met>(sum_dsk, ds, keys, pitch);
    }
    store_rows<D>(dq + at(b, 0, h, s.Tq, s.H, D), stride, first + warp_row, s.Tq, sum_dsk,
                  {scale, scale});
}

// What a key's warp needs of the met queries, in shared memory; a row behind the last query sees
// nothing.
struct MetQuery {
    float lse2, delta;
    Seen seen;
};

// shared: own keys and values, met queries and douts, the met queries' numbers
template <int D>
__global__ void __launch_bounds__(tile_threads)
    attention_tiles_dkv_kernel(bf16* dk, bf16* dv, const bf16* dout, const bf16* q, const bf16* k,
                               const bf16* v, const float* lse, const float* delta,
                               const int* document, AttentionShape s) {
    constexpr int met = Rows<D>::met_queries, pitch = Rows<D>::pitch;
    DYNAMIC_SHARED(bf16, keys);
    bf16* const values = keys + own_rows * pitch;
    bf16* const queries = values + own_rows * pitch;
    bf16* const douts = queries + met * pitch;
    MetQuery* const met_queries = reinterpret_cast<MetQuery*>(douts + met * pitch);
    const auto [b, kv, first] = place_of_block(s.KV);
    const int group = s.H / s.KV, warp_row = threadIdx.x / warp_size * 16;
    const size_t stride = size_t(s.H) * D, kv_stride = size_t(s.KV) * D;
    load_rows<D>(keys, k + at(b, 0, kv, s.Tk, s.KV, D), kv_stride, first, own_rows, s.Tk);
    load_rows<D>(values, v + at(b, 0, kv, s.Tk, s.KV, D), kv_stride, first, own_rows, s.Tk);

    const float scale = 1 / sqrtf(D);
    const int first_query = first > s.first ? (first - s.first) / met * met : 0;
    Tile<D> sum_dk = {}, sum_dv = {};
    for (int h = kv * group; h < (kv + 1) * group; h++)
        for (int t0 = first_query; t0 < s.Tq; t0 += met) {
            __syncthreads();  // all warps are done with the tile before
            load_rows<D>(queries, q + at(b, 0, h, s.Tq, s.H, D), stride, t0, met, s.Tq);
            load_rows<D>(douts, dout + at(b, 0, h, s.Tq, s.H, D), stride, t0, met, s.Tq);
            if (threadIdx.x < met) {
                const int t = t0 + threadIdx.x;
                const size_t entry = entry_at(b, h, t, s);
                met_queries[threadIdx.x] = t < s.Tq ? MetQuery{lse[entry] * log2_of_e, delta[entry],
                                                               seen_by(b, t, document, s)}
                                                    : MetQuery{0, 0, {0, 0}};
            }
            __syncthreads();
            Tile<met> p = {}, ds = {};  // transposed: a row a key
            add_matmul_transposed<met, D>(p, keys + warp_row * pitch, queries, pitch);
            add_matmul_transposed<met, D>(ds, values + warp_row * pitch, douts, pitch);
#pragma unroll
            for (int n = 0; n < met; n += 8)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const MetQuery i = met_queries[n + column_of_entry(e)];
                    const int j = first + warp_row + row_of_entry(e);
                    const bool sees = i.seen.begin <= j && j < i.seen.end;
                    const float score2 = p[n / 8][e] * scale * log2_of_e - i.lse2;
                    p[n / 8][e] = sees ? exp2f(score2) : 0;
                    ds[n / 8][e] = p[n / 8][e] * (ds[n / 8][e] - i.delta);
                }
            add_matmul<D, met>(sum_dv, p, douts, pitch);
            add_matmul<D, met>(sum_dk, ds, queries, pitch);
        }
    const size_t to = at(b, 0, kv, s.Tk, s.KV, D);
    store_rows<D>(dk + to, kv_stride, first + warp_row, s.Tk, sum_dk, {scale, scale});
    store_rows<D>(dv + to, kv_stride, first + warp_row, s.Tk, sum_dv, {1, 1});
}

// ---- launching ----------------------------------------------------------------------------------

// Calls f(std::integral_constant<int, D>) for the head size D.
template <class F>
void with_head_size(int D, F f) {
    CHECK(tiles_take(D));
    if (D == 64) f(std::integral_constant<int, 64>());
    if (D == 80) f(std::integral_constant<int, 80>());
    if (D == 128) f(std::integral_constant<int, 128>());
    if (D == 160) f(std::integral_constant<int, 160>());
}

dim3 blocks_for(int rows, int heads) { return dim3((rows + own_rows - 1) / own_rows, heads); }

// Bytes of so many rows in shared memory.
template <int D>
size_t shared_rows(int rows) {
    return size_t(rows) * Rows<D>::pitch * sizeof(bf16);
}

}  // namespace

void attention_tiles_forward(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                             const int* document, AttentionShape s) {
    with_head_size(s.D, [&]<int D>(std::integral_constant<int, D>) {
        launch(attention_tiles_forward_kernel<D>, blocks_for(s.Tq, s.B * s.H), tile_threads,
               shared_rows<D>(own_rows + 2 * Rows<D>::met_keys), out, lse, q, k, v, document, s);
    });
}

void attention_tiles_backward(bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* q,
                              const bf16* k, const bf16* v, const float* lse, const float* delta,
                              const int* document, AttentionShape s) {
    with_head_size(s.D, [&]<int D>(std::integral_constant<int, D>) {
        constexpr int met = Rows<D>::met_queries;
        launch(attention_tiles_dq_kernel<D>, blocks_for(s.Tq, s.B * s.H), tile_threads,
               shared_rows<D>(2 * own_rows + 2 * Rows<D>::met_keys), dq, dout, q, k, v, lse, delta,
               document, s);
        launch(attention_tiles_dkv_kernel<D>, blocks_for(s.Tk, s.B * s.KV), tile_threads,
               shared_rows<D>(2 * own_rows + 2 * met) + met * sizeof(MetQuery), dk, dv, dout, q, k,
               v, lse, delta, document, s);
    });
}

}  // namespace peri
