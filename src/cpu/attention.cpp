#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/blas.h"
#include "cpu/math.h"
#include "cpu/parallel.h"
#include "device.h"
#include "kernels.h"

// A tile of queries of one head meets all the keys that any of them may see: the scores of a tile
// are at most tile x Tk numbers, so memory grows linearly with the sequence and no T x T matrix
// exists.

namespace peri {

namespace {

constexpr int tile = 64;  // queries

int tiles(const AttentionShape& s) { return (s.Tq + tile - 1) / tile; }

// Queries q0 .. q0 + queries - 1 of sequence b and keys k0 .. k0 + keys - 1, which cover all that
// these queries see.
struct Tile {
    int b, q0, queries, k0, keys;
};

Tile make_tile(int b, int index, const int* document, const AttentionShape& s) {
    const int q0 = index * tile, queries = std::min(tile, s.Tq - q0);
    int k0 = 0;
    if (document) {
        const int* const starts = document + size_t(b) * s.Tq + q0;
        k0 = *std::min_element(starts, starts + queries);
    }
    return {b, q0, queries, k0, s.first + q0 + queries - k0};
}

// The keys that query i of the tile sees, counted from the tile's first key: begin <= j < end.
struct Seen {
    int begin, end;
};

Seen seen_by(const Tile& t, int i, const int* document, const AttentionShape& s) {
    const int start = document ? document[size_t(t.b) * s.Tq + t.q0 + i] : 0;
    return {start - t.k0, s.first + t.q0 + i + 1 - t.k0};
}

// scores (queries,keys) = scale q k^T
template <class T>
void score(T* scores, const T* q, const T* k, const Tile& t, const AttentionShape& s) {
    const T scale = 1 / std::sqrt(T(s.D));
    gemm(Op::none, Op::transpose, t.queries, t.keys, s.D, scale, q, s.H * s.D, k, s.KV * s.D, T(0),
         scores, t.keys);
}

// A row of scores becomes exp(s - max) where the query sees and 0 elsewhere; returns the row's
// maximum and sum.
template <class T>
struct RowSoftmax {
    T most, sum;
};

template <class T>
RowSoftmax<T> exponentiate(T* row, Seen seen, int keys) {
    T most = row[seen.begin], sum = 0;
#pragma omp simd reduction(max : most)
    for (int j = seen.begin; j < seen.end; j++) most = row[j] > most ? row[j] : most;
#pragma omp simd reduction(+ : sum)
    for (int j = seen.begin; j < seen.end; j++) {
        row[j] = exp_of(row[j] - most);
        sum += row[j];
    }
    std::fill(row, row + seen.begin, T(0));
    std::fill(row + seen.end, row + keys, T(0));
    return {most, sum};
}

}  // namespace

template <class T>
size_t attention_workspace(AttentionShape s) {
    return 2 * size_t(get_threads()) * tile * s.Tk * sizeof(T);
}

template <class T>
void attention_forward(T* out, Accum<T>* lse, const T* q, const T* k, const T* v,
                       const int* document, AttentionShape s) {
    T* const scratch = static_cast<T*>(workspace<T>(attention_workspace<T>(s)));
#pragma omp parallel for collapse(3) schedule(dynamic)
    for (int b = 0; b < s.B; b++)
        for (int h = 0; h < s.H; h++)
            for (int index = tiles(s) - 1; index >= 0; index--) {  // the longest tiles first
                const Tile t = make_tile(b, index, document, s);
                const size_t query = ((size_t(b) * s.Tq + t.q0) * s.H + h) * s.D;
                const size_t key = ((size_t(b) * s.Tk + t.k0) * s.KV + h / (s.H / s.KV)) * s.D;
                T* const p = scratch + size_t(omp_get_thread_num()) * tile * s.Tk;
                score(p, q + query, k + key, t, s);
                T scale[tile];
                for (int i = 0; i < t.queries; i++) {
                    const auto [most, sum] =
                        exponentiate(p + size_t(i) * t.keys, seen_by(t, i, document, s), t.keys);
                    scale[i] = 1 / sum;
                    lse[(size_t(b) * s.H + h) * s.Tq + t.q0 + i] = most + std::log(sum);
                }
                gemm(Op::none, Op::none, t.queries, s.D, t.keys, T(1), p, t.keys, v + key,
                     s.KV * s.D, T(0), out + query, s.H * s.D);
                for (int i = 0; i < t.queries; i++)
                    for (int d = 0; d < s.D; d++)
                        out[query + size_t(i) * s.H * s.D + d] *= scale[i];
            }
}

namespace {

// One tile of one head, backward. With p recomputed from lse and delta_i = dout_i . out_i:
//   dv_j += sum_i p_ij dout_i,   dp_ij = dout_i . v_j,   ds_ij = p_ij (dp_ij - delta_i)
//   dq_i  = scale sum_j ds_ij k_j,   dk_j += scale sum_i ds_ij q_i
// All pointers are to the tile's first query or key of the head.
template <class T>
void tile_backward(T* dq, T* dk, T* dv, const T* dout, const T* out, const T* q, const T* k,
                   const T* v, const Accum<T>* lse, const int* document, const Tile& t, T* p, T* dp,
                   const AttentionShape& s) {
    const int qs = s.H * s.D, ks = s.KV * s.D;  // from one token to the next
    score(p, q, k, t, s);
    gemm(Op::none, Op::transpose, t.queries, t.keys, s.D, T(1), dout, qs, v, ks, T(0), dp, t.keys);
    const T scale = 1 / std::sqrt(T(s.D));
    for (int i = 0; i < t.queries; i++) {
        T delta = 0;
#pragma omp simd reduction(+ : delta)
        for (int d = 0; d < s.D; d++) delta += dout[size_t(i) * qs + d] * out[size_t(i) * qs + d];
        const Seen seen = seen_by(t, i, document, s);
        T* const p_row = p + size_t(i) * t.keys;
        T* const ds_row = dp + size_t(i) * t.keys;
        std::fill(p_row, p_row + seen.begin, T(0));
        std::fill(ds_row, ds_row + seen.begin, T(0));
#pragma omp simd
        for (int j = seen.begin; j < seen.end; j++) {
            p_row[j] = exp_of(p_row[j] - lse[i]);
            ds_row[j] = scale * p_row[j] * (ds_row[j] - delta);
        }
        std::fill(p_row + seen.end, p_row + t.keys, T(0));
        std::fill(ds_row + seen.end, ds_row + t.keys, T(0));
    }
    gemm(Op::transpose, Op::none, t.keys, s.D, t.queries, T(1), p, t.keys, dout, qs, T(1), dv, ks);
    gemm(Op::none, Op::none, t.queries, s.D, t.keys, T(1), dp, t.keys, k, ks, T(0), dq, qs);
    gemm(Op::transpose, Op::none, t.keys, s.D, t.queries, T(1), dp, t.keys, q, qs, T(1), dk, ks);
}

}  // namespace

// A task is one key/value head of one sequence, with all the queries that read it: so dk and dv
// have one writer.
template <class T>
void attention_backward(T* dq, T* dk, T* dv, const T* dout, const T* out, const T* q, const T* k,
                        const T* v, const Accum<T>* lse, const int* document, AttentionShape s) {
    T* const scratch = static_cast<T*>(workspace<T>(attention_workspace<T>(s)));
    const int group = s.H / s.KV;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int b = 0; b < s.B; b++)
        for (int kv = 0; kv < s.KV; kv++) {
            T* const p = scratch + 2 * size_t(omp_get_thread_num()) * tile * s.Tk;
            T* const dp = p + size_t(tile) * s.Tk;
            for (int j = 0; j < s.Tk; j++) {
                const size_t key = ((size_t(b) * s.Tk + j) * s.KV + kv) * s.D;
                std::fill(dk + key, dk + key + s.D, T(0));
                std::fill(dv + key, dv + key + s.D, T(0));
            }
            for (int h = kv * group; h < (kv + 1) * group; h++)
                for (int index = 0; index < tiles(s); index++) {
                    const Tile t = make_tile(b, index, document, s);
                    const size_t query = ((size_t(b) * s.Tq + t.q0) * s.H + h) * s.D;
                    const size_t key = ((size_t(b) * s.Tk + t.k0) * s.KV + kv) * s.D;
                    tile_backward(dq + query, dk + key, dv + key, dout + query, out + query,
                                  q + query, k + key, v + key,
                                  lse + (size_t(b) * s.H + h) * s.Tq + t.q0, document, t, p, dp, s);
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
