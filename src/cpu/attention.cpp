#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/math.h"
#include "cpu/parallel.h"
#include "cpu/tile.h"
#include "device.h"
#include "kernels.h"

// Queries come in tiles and meet the keys in blocks, so that the scores of a tile and a block stay
// in cache and no T x T matrix exists. A task is one key/value head of one sequence with all the
// queries that read it: its keys are transposed once for all of them, and dk and dv have one
// writer.

namespace peri {

namespace {

constexpr int tile = 32;    // queries
constexpr int block = 128;  // keys

// One thread's scratch: keys and values of a head, each block transposed to (D,block); scores and
// their gradients (tile,block).
template <class T>
struct Scratch {
    T *k_transposed, *v_transposed, *p, *dp;

    static size_t numbers(const AttentionShape& s) {
        const size_t padded_keys = (size_t(s.Tk) + block - 1) / block * block;
        return 2 * padded_keys * s.D + 2 * tile * block;
    }
    Scratch(void* memory, int thread, const AttentionShape& s) {
        const size_t keys = (numbers(s) - 2 * tile * block) / 2;
        k_transposed = static_cast<T*>(memory) + thread * numbers(s);
        v_transposed = k_transposed + keys;
        p = v_transposed + keys;
        dp = p + tile * block;
    }
};

// x (Tk,D), rows `stride` apart, to blocks of (D,block)
template <class T>
void transpose_blocks(T* y, const T* x, int stride, const AttentionShape& s) {
    for (int k0 = 0; k0 < s.Tk; k0 += block)
        for (int d = 0; d < s.D; d++)
            for (int j = 0; j < std::min(block, s.Tk - k0); j++)
                y[size_t(k0) * s.D + d * block + j] = x[size_t(k0 + j) * stride + d];
}

// Queries q0 .. q0 + queries - 1 of sequence b; together they see some of the keys begin .. end -
// 1.
struct Tile {
    int b, q0, queries, begin, end;
};

Tile make_tile(int b, int q0, const int* document, const AttentionShape& s) {
    const int queries = std::min(tile, s.Tq - q0);
    int begin = 0;
    if (document) {
        const int* const starts = document + size_t(b) * s.Tq + q0;
        begin = *std::min_element(starts, starts + queries);
    }
    return {b, q0, queries, begin / block * block, s.first + q0 + queries};
}

// The keys that query i of the tile sees in the block that starts at key k0, counted from k0:
// begin <= j < end, none where end <= begin.
struct Seen {
    int begin, end;
};

Seen seen_in_block(const Tile& t, int i, int k0, const int* document, const AttentionShape& s) {
    const int start = document ? document[size_t(t.b) * s.Tq + t.q0 + i] : 0;
    return {std::max(start - k0, 0), std::min(s.first + t.q0 + i + 1 - k0, block)};
}

// One tile against one block of keys, with the softmax kept up to date (online): for each query the
// largest score so far, `most`, and the sum of exp(score - most) so far.
template <class T>
void softmax_block(T* p, T* out, int out_stride, T* most, T* sum, const Tile& t, int k0, int keys,
                   const int* document, const AttentionShape& s) {
    const T scale = 1 / std::sqrt(T(s.D));
    for (int i = 0; i < t.queries; i++) {
        T* const row = p + i * block;
        const Seen seen = seen_in_block(t, i, k0, document, s);
        if (seen.end <= seen.begin) {
            std::fill(row, row + keys, T(0));
            continue;
        }
        T largest = row[seen.begin] * scale, added = 0;
#pragma omp simd reduction(max : largest)
        for (int j = seen.begin; j < seen.end; j++)
            largest = row[j] * scale > largest ? row[j] * scale : largest;
        largest = largest < most[i] ? most[i] : largest;
#pragma omp simd reduction(+ : added)
        for (int j = seen.begin; j < seen.end; j++) {
            row[j] = exp_of(row[j] * scale - largest);
            added += row[j];
        }
        std::fill(row, row + seen.begin, T(0));
        if (seen.end < keys) std::fill(row + seen.end, row + keys, T(0));
        const T shrink = exp_of(most[i] - largest);  // of what was summed under the old maximum
        sum[i] = sum[i] * shrink + added;
        most[i] = largest;
        for (int d = 0; d < s.D; d++) out[size_t(i) * out_stride + d] *= shrink;
    }
}

// All pointers are to the tile's first query of the head, and to the head's first key.
template <class T>
void tile_forward(T* out, Accum<T>* lse, const T* q, const T* v, const int* document, const Tile& t,
                  const Scratch<T>& scratch, const AttentionShape& s) {
    const int qs = s.H * s.D, ks = s.KV * s.D;  // from one token to the next
    T most[tile], sum[tile];
    for (int i = 0; i < t.queries; i++) {
        most[i] = -std::numeric_limits<T>::infinity();
        sum[i] = 0;
        std::fill(out + size_t(i) * qs, out + size_t(i) * qs + s.D, T(0));
    }
    for (int k0 = t.begin; k0 < t.end; k0 += block) {
        const int keys = std::min(block, t.end - k0);
        tile_product<Into::set, T>(scratch.p, block, {q, qs, 1},
                                   scratch.k_transposed + size_t(k0) * s.D, block, t.queries, keys,
                                   s.D);
        softmax_block(scratch.p, out, qs, most, sum, t, k0, keys, document, s);
        tile_product<Into::add, T>(out, qs, {scratch.p, block, 1}, v + size_t(k0) * ks, ks,
                                   t.queries, s.D, keys);
    }
    for (int i = 0; i < t.queries; i++) {
        for (int d = 0; d < s.D; d++) out[size_t(i) * qs + d] /= sum[i];
        lse[i] = most[i] + std::log(sum[i]);
    }
}

}  // namespace

template <class T>
size_t attention_workspace(AttentionShape s) {
    return get_threads() * Scratch<T>::numbers(s) * sizeof(T);
}

template <class T>
void attention_forward(T* out, Accum<T>* lse, const T* q, const T* k, const T* v,
                       const int* document, AttentionShape s) {
    void* const memory = workspace<T>(attention_workspace<T>(s));
    const int group = s.H / s.KV;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int b = 0; b < s.B; b++)
        for (int kv = 0; kv < s.KV; kv++) {
            const Scratch<T> scratch(memory, omp_get_thread_num(), s);
            const size_t key = (size_t(b) * s.Tk * s.KV + kv) * s.D;
            transpose_blocks(scratch.k_transposed, k + key, s.KV * s.D, s);
            for (int h = kv * group; h < (kv + 1) * group; h++)
                for (int q0 = 0; q0 < s.Tq; q0 += tile) {
                    const size_t query = ((size_t(b) * s.Tq + q0) * s.H + h) * s.D;
                    tile_forward(out + query, lse + (size_t(b) * s.H + h) * s.Tq + q0, q + query,
                                 v + key, document, make_tile(b, q0, document, s), scratch, s);
                }
        }
}

namespace {

// The scores in p and the gradients of the probabilities in dp become probabilities and gradients
// of the scores: p_ij = exp(scale s_ij - lse_i), ds_ij = scale p_ij (dp_ij - delta_i), 0 where
// unseen.
template <class T>
void softmax_backward_block(T* p, T* dp, const T* delta, const Accum<T>* lse, const Tile& t, int k0,
                            int keys, const int* document, const AttentionShape& s) {
    const T scale = 1 / std::sqrt(T(s.D));
    for (int i = 0; i < t.queries; i++) {
        T *const p_row = p + i * block, *const ds_row = dp + i * block;
        const Seen seen = seen_in_block(t, i, k0, document, s);
        const int begin = std::min(seen.begin, keys), end = std::max(seen.end, begin);
        std::fill(p_row, p_row + begin, T(0));
        std::fill(ds_row, ds_row + begin, T(0));
#pragma omp simd
        for (int j = begin; j < end; j++) {
            p_row[j] = exp_of(p_row[j] * scale - lse[i]);
            ds_row[j] = scale * p_row[j] * (ds_row[j] - delta[i]);
        }
        if (end < keys) {
            std::fill(p_row + end, p_row + keys, T(0));
            std::fill(ds_row + end, ds_row + keys, T(0));
        }
    }
}

// With p recomputed from lse and delta_i = dout_i . out_i:
//   dv_j += sum_i p_ij dout_i,   dp_ij = dout_i . v_j
//   dq_i  = sum_j ds_ij k_j,     dk_j += sum_i ds_ij q_i
template <class T>
void tile_backward(T* dq, T* dk, T* dv, const T* dout, const T* out, const T* q, const T* k,
                   const Accum<T>* lse, const int* document, const Tile& t,
                   const Scratch<T>& scratch, const AttentionShape& s) {
    const int qs = s.H * s.D, ks = s.KV * s.D;  // from one token to the next
    T *const p = scratch.p, *const ds = scratch.dp;
    T delta[tile];
    for (int i = 0; i < t.queries; i++) {
        delta[i] = 0;
        for (int d = 0; d < s.D; d++)
            delta[i] += dout[size_t(i) * qs + d] * out[size_t(i) * qs + d];
        std::fill(dq + size_t(i) * qs, dq + size_t(i) * qs + s.D, T(0));
    }
    for (int k0 = t.begin; k0 < t.end; k0 += block) {
        const int keys = std::min(block, t.end - k0), n = t.queries;
        const size_t key = size_t(k0) * ks, transposed = size_t(k0) * s.D;
        tile_product<Into::set, T>(p, block, {q, qs, 1}, scratch.k_transposed + transposed, block,
                                   n, keys, s.D);
        tile_product<Into::set, T>(ds, block, {dout, qs, 1}, scratch.v_transposed + transposed,
                                   block, n, keys, s.D);
        softmax_backward_block(p, ds, delta, lse, t, k0, keys, document, s);
        tile_product<Into::add, T>(dv + key, ks, {p, 1, block}, dout, qs, keys, s.D, n);
        tile_product<Into::add, T>(dk + key, ks, {ds, 1, block}, q, qs, keys, s.D, n);
        tile_product<Into::add, T>(dq, qs, {ds, block, 1}, k + key, ks, n, s.D, keys);
    }
}

}  // namespace

template <class T>
void attention_backward(T* dq, T* dk, T* dv, const T* dout, const T* out, const T* q, const T* k,
                        const T* v, const Accum<T>* lse, const int* document, AttentionShape s) {
    void* const memory = workspace<T>(attention_workspace<T>(s));
    const int group = s.H / s.KV;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int b = 0; b < s.B; b++)
        for (int kv = 0; kv < s.KV; kv++) {
            const Scratch<T> scratch(memory, omp_get_thread_num(), s);
            const size_t key = (size_t(b) * s.Tk * s.KV + kv) * s.D;
            transpose_blocks(scratch.k_transposed, k + key, s.KV * s.D, s);
            transpose_blocks(scratch.v_transposed, v + key, s.KV * s.D, s);
            for (int j = 0; j < s.Tk; j++) {
                const size_t row = key + size_t(j) * s.KV * s.D;
                std::fill(dk + row, dk + row + s.D, T(0));
                std::fill(dv + row, dv + row + s.D, T(0));
            }
            for (int h = kv * group; h < (kv + 1) * group; h++)
                for (int q0 = 0; q0 < s.Tq; q0 += tile) {
                    const size_t query = ((size_t(b) * s.Tq + q0) * s.H + h) * s.D;
                    tile_backward(dq + query, dk + key, dv + key, dout + query, out + query,
                                  q + query, k + key, lse + (size_t(b) * s.H + h) * s.Tq + q0,
                                  document, make_tile(b, q0, document, s), scratch, s);
                }
        }
}

#define INSTANTIATE(T)                                                                             \
    template size_t attention_workspace<T>(AttentionShape);                                        \
    template void attention_forward(T*, Accum<T>*, const T*, const T*, const T*, const int*,       \
                                    AttentionShape);                                               \
    template void attention_backward(T*, T*, T*, const T*, const T*, const T*, const T*, const T*, \
                                     const Accum<T>*, const int*, AttentionShape);
INSTANTIATE(double)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace peri
