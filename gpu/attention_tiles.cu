#include <cmath>

#include "attention.h"
#include "check.h"
#include "mma.h"

// A block owns rows, some for each of its warps: queries (forward, dq) or keys (dk and dv). It meets
// the others a tile at a time in shared memory. Scores and their gradients live in registers only and
// are computed again in backward; every sum has one writer and a fixed order.
//
// What makes it fast, in the order of what it gains:
// - Tensor cores multiply (mma.h).
// - A warp owns 32 rows where its registers allow: each matrix that it loads from shared memory then
//   feeds four products, and reading shared memory is no longer what a tile waits for.
// - Tiles come by asynchronous copies while the warps compute: keys during the product with the values
//   before, values during the product with the keys (forward, dq); the next queries during all of the
//   ones before (dk and dv).
// - Masks are looked at only in tiles that have something to hide: those at the diagonal, and at the
//   start of a document.
// - Scores stay as the products give them; their scale enters with the subtraction of the row's largest,
//   one multiply-add, and powers are of 2, which the hardware has.

namespace peri {

namespace {

constexpr float log2_of_e = 1.44269504f;

// What a block owns and meets, by head size: what fits the registers of a thread.
template <int D>
struct Sizes {
    static constexpr int pitch = D + 8;  // numbers; 8 rows then lie in different banks
    // forward
    static constexpr int forward_rows = 32, forward_warps = 4, forward_keys = D <= 128 ? 64 : 32;
    // dq
    static constexpr int dq_rows = 32, dq_warps = 4, dq_keys = D <= 64 ? 64 : D <= 128 ? 32 : 16;
    // dk and dv
    static constexpr int dkv_rows = 16, dkv_warps = 8;
    static constexpr int dkv_queries = D <= 128 ? 64 : 32, dkv_step = 16;  // of these at once
    static constexpr bool keys_in_registers = D <= 128;
};

// Sets out to copy rows x D numbers into shared memory, from row `first` on of an array with `stride`
// from row to row; zeros from row `end` on.
template <int D, int threads, class Narrow>
__device__ void copy_rows_later(Narrow* to, const Narrow* from, size_t stride, int first, int rows,
                                int end) {
    constexpr int parts = D / 8;  // of 16 bytes
#pragma unroll 1                  // registers are short
    for (int i = threadIdx.x; i < rows * parts; i += threads) {
        const int row = i / parts, column = i % parts * 8;
        const bool valid = first + row < end;
        copy_later(to + row * Sizes<D>::pitch + column,
                   from + (valid ? first + row : 0) * stride + column, valid);
    }
}

// What the warp has summed up for its rows, times factor[row in the lane], to rows first ..
template <int M, int D, class Narrow>
__device__ void store_rows(Narrow* to, size_t stride, int first, int end, const Tile<M, D>& sum,
                           const float (&factor)[M / 8]) {
#pragma unroll
    for (int m = 0; m < M / 16; m++)
#pragma unroll
        for (int n = 0; n < D; n += 8)
#pragma unroll
            for (int e = 0; e < 4; e += 2) {
                const int row = first + m * 16 + row_of_entry(e);
                const float f = factor[2 * m + e / 2];
                if (row < end)
                    *reinterpret_cast<unsigned*>(to + row * stride + n + column_of_entry(e)) =
                        pack<Narrow>(sum[m][n / 8][e] * f, sum[m][n / 8][e + 1] * f);
            }
}

// The block's place: blockIdx.x a sequence and head of `heads`, of which there may be more than a grid has
// blocks along y; blockIdx.y a tile of own rows. The last tiles come first, since most work is theirs.
struct Place {
    int b, head, first;
};
__device__ inline Place place_of_block(int heads, int own_rows) {
    return {static_cast<int>(blockIdx.x) / heads, static_cast<int>(blockIdx.x) % heads,
            static_cast<int>(gridDim.y - 1 - blockIdx.y) * own_rows};
}

__device__ inline int least(int x, int y) { return x < y ? x : y; }
__device__ inline int warp_of_thread() { return threadIdx.x / warp_size; }

// ---- what queries see ---------------------------------------------------------------------------

// The first key that any of the block's queries sees, and the first that all of them see.
struct Begin {
    int any, all;
};
__device__ inline Begin begin_of_block(int b, int first, int rows, const int* document,
                                       const AttentionShape& s) {
    if (!document) return {0, 0};
    Begin begin = {s.Tk, 0};
    for (int t = first; t < first + rows && t < s.Tq; t++) {
        const int of_row = document[size_t(b) * s.Tq + t];
        begin.any = of_row < begin.any ? of_row : begin.any;
        begin.all = of_row > begin.all ? of_row : begin.all;
    }
    return begin;
}

// What the lane's queries of 16 from `first` on see; a row behind the last query sees nothing.
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

// ---- forward ------------------------------------------------------------------------------------

// Turns the scores (M,N) of keys j0 .. into p = exp(scale score - most), with `most` the largest score
// of the row so far, in units of log 2; what was summed before shrinks with it.
template <bool masked, int M, int N, int D, class SeenBy>
__device__ void online_softmax(Tile<M, N>& scores, Tile<M, D>& sum_pv, float (&most)[M / 8],
                               float (&sum)[M / 8], int j0, float scale2, SeenBy seen_by_tile) {
#pragma unroll
    for (int m = 0; m < M / 16; m++) {
        float largest[2] = {-INFINITY, -INFINITY}, base[2], shrink[2];
        const SeenByLane seen = masked ? seen_by_tile(m) : SeenByLane{};
#pragma unroll
        for (int n = 0; n < N; n += 8)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float& score = scores[m][n / 8][e];
                if (masked && !seen.sees(e, j0 + n + column_of_entry(e))) score = -INFINITY;
                largest[e / 2] = fmaxf(largest[e / 2], score);
            }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float& so_far = most[2 * m + i];
            const float larger = fmaxf(so_far, row_max(largest[i]) * scale2);
            base[i] = masked && larger == -INFINITY ? 0 : larger;  // a row that saw nothing yet
            shrink[i] = exp2_fast(so_far - base[i]);
            so_far = larger;
            sum[2 * m + i] *= shrink[i];
        }
#pragma unroll
        for (int n = 0; n < N; n += 8)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float& p = scores[m][n / 8][e];
                p = exp2_fast(p * scale2 - base[e / 2]);
                sum[2 * m + e / 2] += p;
            }
#pragma unroll
        for (int n = 0; n < D; n += 8)
#pragma unroll
            for (int e = 0; e < 4; e++) sum_pv[m][n / 8][e] *= shrink[e / 2];
    }
}

// shared: own queries, met keys and values
template <class Narrow, int D>
__global__ void __launch_bounds__(Sizes<D>::forward_warps* warp_size, 2)
    attention_tiles_forward_kernel(Narrow* out, float* lse, const Narrow* q, const Narrow* k,
                                   const Narrow* v, const int* document, AttentionShape s) {
    constexpr int M = Sizes<D>::forward_rows, met = Sizes<D>::forward_keys, pitch = Sizes<D>::pitch;
    constexpr int threads = Sizes<D>::forward_warps * warp_size;
    constexpr int own_rows = M * Sizes<D>::forward_warps;
    DYNAMIC_SHARED(Narrow, queries);
    Narrow* const keys = queries + own_rows * pitch;
    Narrow* const values = keys + met * pitch;
    const Place place = place_of_block(s.H, own_rows);
    const int b = place.b, h = place.head, first = place.first;
    const int kv = h / (s.H / s.KV), warp_row = warp_of_thread() * M;
    const size_t stride = size_t(s.H) * D, kv_stride = size_t(s.KV) * D;
    const Narrow* const all_keys = k + at(b, 0, kv, s.Tk, s.KV, D);
    const Narrow* const all_values = v + at(b, 0, kv, s.Tk, s.KV, D);
    const float scale2 = log2_of_e / sqrtf(D);

    const Begin begin = begin_of_block(b, first, own_rows, document, s);
    // the keys that all queries of the warp see, and those that any of the block does
    const int end_of_all = s.first + first + warp_row + 1;
    const int end = s.first + least(first + own_rows, s.Tq), start = begin.any / met * met;
    copy_rows_later<D, threads>(queries, q + at(b, 0, h, s.Tq, s.H, D), stride, first, own_rows,
                                s.Tq);
    copy_rows_later<D, threads>(keys, all_keys, kv_stride, start, met, s.Tk);
    end_group_of_copies();

    const auto seen_by_tile = [&](int m) {
        return seen_by_lane(b, first + warp_row + 16 * m, document, s);
    };
    Tile<M, D> sum_pv = {};
    float most[M / 8], sum[M / 8];
    for (int i = 0; i < M / 8; i++) most[i] = -INFINITY, sum[i] = 0;
    for (int j0 = start; j0 < end; j0 += met) {
        wait_for_copies<0>();
        __syncthreads();  // the keys are here, and all warps are done with the values before
        copy_rows_later<D, threads>(values, all_values, kv_stride, j0, met, s.Tk);
        end_group_of_copies();
        Tile<M, met> p = {};
        add_matmul_transposed<M, met, D>(p, queries + warp_row * pitch, keys, pitch);
        wait_for_copies<0>();
        __syncthreads();  // the values are here, and all warps are done with the keys
        if (j0 + met < end)
            copy_rows_later<D, threads>(keys, all_keys, kv_stride, j0 + met, met, s.Tk);
        end_group_of_copies();
        if (begin.all <= j0 && j0 + met <= end_of_all)
            online_softmax<false, M, met, D>(p, sum_pv, most, sum, j0, scale2, seen_by_tile);
        else
            online_softmax<true, M, met, D>(p, sum_pv, most, sum, j0, scale2, seen_by_tile);
        add_matmul<M, D, met>(sum_pv, p, values, pitch);
    }

    float inverse[M / 8];
#pragma unroll
    for (int i = 0; i < M / 8; i++) {
        sum[i] = row_sum(sum[i]);
        inverse[i] = 1 / sum[i];
        const int t = first + warp_row + i / 2 * 16 + row_of_entry(2 * (i % 2));
        if (t < s.Tq && threadIdx.x % 4 == 0)
            lse[entry_at(b, h, t, s)] = (most[i] + log2f(sum[i])) / log2_of_e;
    }
    store_rows<M, D>(out + at(b, 0, h, s.Tq, s.H, D), stride, first + warp_row, s.Tq, sum_pv,
                     inverse);
}

// ---- backward -----------------------------------------------------------------------------------
//
// With p recomputed from lse:   ds_ij = p_ij (dout_i . v_j - delta_i),   and times 1 / sqrt(D)
//   dq_i = sum_j ds_ij k_j,   dk_j = sum_i ds_ij q_i;   dv_j = sum_i p_ij dout_i

// shared: own queries and their douts, met keys and values
template <class Narrow, int D>
__global__ void __launch_bounds__(Sizes<D>::dq_warps* warp_size)
    attention_tiles_dq_kernel(Narrow* dq, const Narrow* dout, const Narrow* q, const Narrow* k,
                              const Narrow* v, const float* lse, const float* delta,
                              const int* document, AttentionShape s) {
    constexpr int M = Sizes<D>::dq_rows, met = Sizes<D>::dq_keys, pitch = Sizes<D>::pitch;
    constexpr int threads = Sizes<D>::dq_warps * warp_size, own_rows = M * Sizes<D>::dq_warps;
    DYNAMIC_SHARED(Narrow, queries);
    Narrow* const douts = queries + own_rows * pitch;
    Narrow* const keys = douts + own_rows * pitch;  // two tiles of them, by turns
    Narrow* const values = keys + 2 * met * pitch;
    const Place place = place_of_block(s.H, own_rows);
    const int b = place.b, h = place.head, first = place.first;
    const int kv = h / (s.H / s.KV), warp_row = warp_of_thread() * M;
    const size_t stride = size_t(s.H) * D, kv_stride = size_t(s.KV) * D;
    const Narrow* const all_keys = k + at(b, 0, kv, s.Tk, s.KV, D);
    const Narrow* const all_values = v + at(b, 0, kv, s.Tk, s.KV, D);
    const float scale = 1 / sqrtf(D), scale2 = scale * log2_of_e;

    const Begin begin = begin_of_block(b, first, own_rows, document, s);
    // the keys that all queries of the warp see, that any does, that any of the block does
    const int end_of_all = s.first + first + warp_row + 1, end_of_warp = end_of_all + M - 1;
    const int end = s.first + least(first + own_rows, s.Tq), start = begin.any / met * met;
    copy_rows_later<D, threads>(queries, q + at(b, 0, h, s.Tq, s.H, D), stride, first, own_rows,
                                s.Tq);
    copy_rows_later<D, threads>(douts, dout + at(b, 0, h, s.Tq, s.H, D), stride, first, own_rows,
                                s.Tq);
    copy_rows_later<D, threads>(keys, all_keys, kv_stride, start, met, s.Tk);
    copy_rows_later<D, threads>(values, all_values, kv_stride, start, met, s.Tk);
    end_group_of_copies();

    float lse2[M / 8], delta_i[M / 8];  // lse in units of log 2
#pragma unroll
    for (int i = 0; i < M / 8; i++) {
        const int t = first + warp_row + i / 2 * 16 + row_of_entry(2 * (i % 2));
        lse2[i] = t < s.Tq ? lse[entry_at(b, h, t, s)] * log2_of_e : 0;
        delta_i[i] = t < s.Tq ? delta[entry_at(b, h, t, s)] : 0;
    }
    const auto seen_by_tile = [&](int m) {
        return seen_by_lane(b, first + warp_row + 16 * m, document, s);
    };
    Tile<M, D> sum_dsk = {};
    for (int j0 = start, turn = 0; j0 < end; j0 += met, turn ^= 1) {
        wait_for_copies<0>();
        __syncthreads();  // this tile is here, and all warps are done with the one before
        if (j0 + met < end) {
            const int other = (turn ^ 1) * met * pitch;
            copy_rows_later<D, threads>(keys + other, all_keys, kv_stride, j0 + met, met, s.Tk);
            copy_rows_later<D, threads>(values + other, all_values, kv_stride, j0 + met, met, s.Tk);
        }
        end_group_of_copies();
        if (j0 >= end_of_warp) continue;
        const Narrow* const tile_keys = keys + turn * met * pitch;
        Tile<M, met> p = {}, ds = {};
        add_matmul_transposed<M, met, D>(p, queries + warp_row * pitch, tile_keys, pitch);
        add_matmul_transposed<M, met, D>(ds, douts + warp_row * pitch, values + turn * met * pitch,
                                         pitch);
        const auto to_ds = [&]<bool masked>(std::bool_constant<masked>) {
#pragma unroll
            for (int m = 0; m < M / 16; m++) {
                const SeenByLane seen = masked ? seen_by_tile(m) : SeenByLane{};
#pragma unroll
                for (int n = 0; n < met; n += 8)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        const int i = 2 * m + e / 2;
                        float& entry = ds[m][n / 8][e];
                        entry = exp2_fast(p[m][n / 8][e] * scale2 - lse2[i]) * (entry - delta_i[i]);
                        if (masked && !seen.sees(e, j0 + n + column_of_entry(e))) entry = 0;
                    }
            }
        };
        if (begin.all <= j0 && j0 + met <= end_of_all)
            to_ds(std::false_type());
        else
            to_ds(std::true_type());
        add_matmul<M, D, met>(sum_dsk, ds, tile_keys, pitch);
    }
    float factor[M / 8];
    for (int i = 0; i < M / 8; i++) factor[i] = scale;
    store_rows<M, D>(dq + at(b, 0, h, s.Tq, s.H, D), stride, first + warp_row, s.Tq, sum_dsk,
                     factor);
}

// What a key's warp needs of the met queries, in shared memory; a row behind the last query sees
// nothing.
struct MetQuery {
    float lse2, delta;
    Seen seen;
};

// shared: where they do not fit the registers, own keys and values; two tiles of met queries and douts;
// two of the met queries' numbers
template <class Narrow, int D>
__global__ void __launch_bounds__(Sizes<D>::dkv_warps* warp_size)
    attention_tiles_dkv_kernel(Narrow* dk, Narrow* dv, const Narrow* dout, const Narrow* q,
                               const Narrow* k, const Narrow* v, const float* lse,
                               const float* delta, const int* document, AttentionShape s) {
    constexpr int M = Sizes<D>::dkv_rows, met = Sizes<D>::dkv_queries, pitch = Sizes<D>::pitch;
    constexpr int threads = Sizes<D>::dkv_warps * warp_size, own_rows = M * Sizes<D>::dkv_warps;
    constexpr int step = Sizes<D>::dkv_step;
    constexpr bool in_registers = Sizes<D>::keys_in_registers;
    DYNAMIC_SHARED(Narrow, keys);
    Narrow* const values = keys + own_rows * pitch;
    Narrow* const queries = values + own_rows * pitch;
    Narrow* const douts = queries + 2 * met * pitch;
    MetQuery* const numbers = reinterpret_cast<MetQuery*>(douts + 2 * met * pitch);
    const Place place = place_of_block(s.KV, own_rows);
    const int b = place.b, kv = place.head, first = place.first;
    const int group = s.H / s.KV, warp_row = warp_of_thread() * M;
    const size_t stride = size_t(s.H) * D, kv_stride = size_t(s.KV) * D;
    const float scale = 1 / sqrtf(D), scale2 = scale * log2_of_e;

    const int first_query = first > s.first ? (first - s.first) / met * met : 0;
    const auto copy_tile = [&](int h, int t0, int turn) {
        const size_t from = at(b, 0, h, s.Tq, s.H, D);
        copy_rows_later<D, threads>(queries + turn * met * pitch, q + from, stride, t0, met, s.Tq);
        copy_rows_later<D, threads>(douts + turn * met * pitch, dout + from, stride, t0, met, s.Tq);
        if (threadIdx.x < met) {
            const int t = t0 + threadIdx.x;
            const size_t entry = entry_at(b, h, t, s);
            numbers[turn * met + threadIdx.x] =
                t < s.Tq
                    ? MetQuery{lse[entry] * log2_of_e, delta[entry], seen_by(b, t, document, s)}
                    : MetQuery{0, 0, {0, 0}};
        }
    };
    copy_rows_later<D, threads>(keys, k + at(b, 0, kv, s.Tk, s.KV, D), kv_stride, first, own_rows,
                                s.Tk);
    copy_rows_later<D, threads>(values, v + at(b, 0, kv, s.Tk, s.KV, D), kv_stride, first, own_rows,
                                s.Tk);
    if (first_query < s.Tq) copy_tile(kv * group, first_query, 0);
    end_group_of_copies();
    wait_for_copies<0>();
    __syncthreads();
    const Narrow *const own_keys = keys + warp_row * pitch, *const own_values =
                                                                values + warp_row * pitch;
    Factor<M, in_registers ? D : 16> key_factor, value_factor;
    if constexpr (in_registers) {
        load_factor<M, D>(key_factor, own_keys, pitch);
        load_factor<M, D>(value_factor, own_values, pitch);
    }

    const int first_key = first + warp_row, last_key = first_key + M - 1;
    Tile<M, D> sum_dk = {}, sum_dv = {};
    int h = kv * group, t0 = first_query;
    for (int turn = 0; t0 < s.Tq; turn ^= 1) {
        wait_for_copies<0>();
        __syncthreads();  // this tile is here, and all warps are done with the one before
        const bool last_of_head = t0 + met >= s.Tq;
        const int next_h = last_of_head ? h + 1 : h,
                  next_t0 = last_of_head ? first_query : t0 + met;
        const bool more = next_h < (kv + 1) * group;
        if (more) copy_tile(next_h, next_t0, turn ^ 1);
        end_group_of_copies();
#pragma unroll 1
        for (int i0 = turn * met; i0 < turn * met + met; i0 += step) {
            const int first_seen =
                s.first + t0 + i0 - turn * met;            // the last key of the first query
            if (first_seen + step <= first_key) continue;  // no query sees a key of the warp
            if (document &&
                !__ballot_sync(all_lanes, numbers[i0 + threadIdx.x % step].seen.begin <= last_key))
                continue;  // nor does one of a later document
            const Narrow *const met_queries = queries + i0 * pitch, *const met_douts =
                                                                        douts + i0 * pitch;
            Tile<M, step> p = {}, ds = {};  // transposed: a row a key
            if constexpr (in_registers) {
                add_matmul_transposed<step, D>(p, key_factor, met_queries, pitch);
                add_matmul_transposed<step, D>(ds, value_factor, met_douts, pitch);
            } else {
                add_matmul_transposed<M, step, D>(p, own_keys, met_queries, pitch);
                add_matmul_transposed<M, step, D>(ds, own_values, met_douts, pitch);
            }
            const auto to_ds = [&]<bool masked>(std::bool_constant<masked>) {
#pragma unroll
                for (int n = 0; n < step; n += 8)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        const MetQuery& i = numbers[i0 + n + column_of_entry(e)];
                        const int j = first_key + row_of_entry(e);
                        float& p_ji = p[0][n / 8][e];
                        p_ji = exp2_fast(p_ji * scale2 - i.lse2);
                        if (masked && !(i.seen.begin <= j && j < i.seen.end)) p_ji = 0;
                        ds[0][n / 8][e] = p_ji * (ds[0][n / 8][e] - i.delta);
                    }
            };
            // rows behind the last query are zeros, and add nothing
            if (!document && last_key <= first_seen)
                to_ds(std::false_type());
            else
                to_ds(std::true_type());
            add_matmul<M, D, step>(sum_dv, p, met_douts, pitch);
            add_matmul<M, D, step>(sum_dk, ds, met_queries, pitch);
        }
        h = next_h;
        t0 = more ? next_t0 : s.Tq;
    }
    const size_t to = at(b, 0, kv, s.Tk, s.KV, D);
    store_rows<M, D>(dk + to, kv_stride, first_key, s.Tk, sum_dk, {scale, scale});
    store_rows<M, D>(dv + to, kv_stride, first_key, s.Tk, sum_dv, {1, 1});
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

dim3 blocks_for(int rows, int own_rows, int heads) {
    return dim3(heads, (rows + own_rows - 1) / own_rows);
}

// Bytes of so many rows in shared memory.
template <class Narrow, int D>
size_t shared_rows(int rows) {
    return size_t(rows) * Sizes<D>::pitch * sizeof(Narrow);
}

}  // namespace

template <class Narrow>
void attention_tiles_forward(Narrow* out, float* lse, const Narrow* q, const Narrow* k,
                             const Narrow* v, const int* document, AttentionShape s) {
    with_head_size(s.D, [&]<int D>(std::integral_constant<int, D>) {
        using S = Sizes<D>;
        constexpr int own = S::forward_rows * S::forward_warps;
        launch(attention_tiles_forward_kernel<Narrow, D>, blocks_for(s.Tq, own, s.B * s.H),
               S::forward_warps * warp_size, shared_rows<Narrow, D>(own + 2 * S::forward_keys), out,
               lse, q, k, v, document, s);
    });
}

template <class Narrow>
void attention_tiles_backward(Narrow* dq, Narrow* dk, Narrow* dv, const Narrow* dout,
                              const Narrow* q, const Narrow* k, const Narrow* v, const float* lse,
                              const float* delta, const int* document, AttentionShape s) {
    with_head_size(s.D, [&]<int D>(std::integral_constant<int, D>) {
        using S = Sizes<D>;
        constexpr int queries = S::dq_rows * S::dq_warps, keys = S::dkv_rows * S::dkv_warps;
        launch(attention_tiles_dq_kernel<Narrow, D>, blocks_for(s.Tq, queries, s.B * s.H),
               S::dq_warps * warp_size, shared_rows<Narrow, D>(2 * queries + 4 * S::dq_keys), dq,
               dout, q, k, v, lse, delta, document, s);
        launch(attention_tiles_dkv_kernel<Narrow, D>, blocks_for(s.Tk, keys, s.B * s.KV),
               S::dkv_warps * warp_size,
               shared_rows<Narrow, D>(2 * keys + 4 * S::dkv_queries) +
                   2 * S::dkv_queries * sizeof(MetQuery),
               dk, dv, dout, q, k, v, lse, delta, document, s);
    });
}

#define INSTANTIATE(Narrow)                                                                    \
    template void attention_tiles_forward(Narrow*, float*, const Narrow*, const Narrow*,       \
                                          const Narrow*, const int*, AttentionShape);          \
    template void attention_tiles_backward(                                                    \
        Narrow*, Narrow*, Narrow*, const Narrow*, const Narrow*, const Narrow*, const Narrow*, \
        const float*, const float*, const int*, AttentionShape);
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
