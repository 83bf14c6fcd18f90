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
// queries that read it: it copies the head's keys and values once for all of them, as rows without
// gaps and transposed, and dk and dv have one writer. All numbers are computed with as Accum<Real>.

namespace peri {

namespace {

constexpr int tile = 32;    // queries
constexpr int block = 128;  // keys

// One thread's copies and results of the head and the tile that it works on.
template <class A>
struct Scratch {
    A *k, *v, *dk, *dv;              // (Tk,D)
    A *k_transposed, *v_transposed;  // (D,block) for each block
    A *q, *out, *dout, *dq;          // (tile,D)
    A *p, *ds;                       // (tile,block)
    size_t bytes;

    Scratch(void* memory, const AttentionShape& s) {
        Slicer slice(memory);
        const size_t keys = size_t(s.Tk) * s.D, queries = size_t(tile) * s.D;
        const size_t padded_keys = (size_t(s.Tk) + block - 1) / block * block * s.D;
        for (A** const x : {&k, &v, &dk, &dv}) *x = slice.take<A>(keys);
        for (A** const x : {&k_transposed, &v_transposed}) *x = slice.take<A>(padded_keys);
        for (A** const x : {&q, &out, &dout, &dq}) *x = slice.take<A>(queries);
        for (A** const x : {&p, &ds}) *x = slice.take<A>(tile * block);
        bytes = slice.used();
    }
};

template <class A>
Scratch<A> scratch_of_thread(void* memory, const AttentionShape& s) {
    const size_t bytes = Scratch<A>(nullptr, s).bytes;
    return {static_cast<char*>(memory) + omp_get_thread_num() * bytes, s};
}

// y (rows,D) = the rows of x, which lie `stride` apart
template <class A, class Real>
void gather(A* y, const Real* x, int stride, int rows, int D) {
    for (int i = 0; i < rows; i++)
        for (int d = 0; d < D; d++) y[size_t(i) * D + d] = x[size_t(i) * stride + d];
}

// the rows of y, which lie `stride` apart, = x (rows,D)
template <class A, class Real>
void scatter(Real* y, int stride, const A* x, int rows, int D) {
    for (int i = 0; i < rows; i++)
        for (int d = 0; d < D; d++) y[size_t(i) * stride + d] = x[size_t(i) * D + d];
}

// x (Tk,D) to blocks of (D,block)
template <class A>
void transpose_blocks(A* y, const A* x, const AttentionShape& s) {
    for (int k0 = 0; k0 < s.Tk; k0 += block)
        for (int d = 0; d < s.D; d++)
            for (int j = 0; j < std::min(block, s.Tk - k0); j++)
                y[size_t(k0) * s.D + d * block + j] = x[size_t(k0 + j) * s.D + d];
}

// Queries q0 .. q0 + queries - 1 of sequence b; together they see some of the keys
// begin .. end - 1.
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
template <class A>
void softmax_block(A* p, A* out, A* most, A* sum, const Tile& t, int k0, int keys,
                   const int* document, const AttentionShape& s) {
    const A scale = 1 / std::sqrt(A(s.D));
    for (int i = 0; i < t.queries; i++) {
        A* const row = p + i * block;
        const Seen seen = seen_in_block(t, i, k0, document, s);
        if (seen.end <= seen.begin) {
            std::fill(row, row + keys, A(0));
            continue;
        }
        A largest = row[seen.begin] * scale, added = 0;
#pragma omp simd reduction(max : largest)
        for (int j = seen.begin; j < seen.end; j++)
            largest = row[j] * scale > largest ? row[j] * scale : largest;
        largest = largest < most[i] ? most[i] : largest;
#pragma omp simd reduction(+ : added)
        for (int j = seen.begin; j < seen.end; j++) {
            row[j] = exp_of(row[j] * scale - largest);
            added += row[j];
        }
        std::fill(row, row + seen.begin, A(0));
        if (seen.end < keys) std::fill(row + seen.end, row + keys, A(0));
        const A shrink = exp_of(most[i] - largest);  // of what was summed under the old maximum
        sum[i] = sum[i] * shrink + added;
        most[i] = largest;
        for (int d = 0; d < s.D; d++) out[i * s.D + d] *= shrink;
    }
}

// out and q are those of the tile's first query in the head.
template <class Real>
void tile_forward(Real* out, Accum<Real>* lse, const Real* q, const int* document, const Tile& t,
                  const Scratch<Accum<Real>>& here, const AttentionShape& s) {
    using A = Accum<Real>;
    const int stride = s.H * s.D, D = s.D, n = t.queries;
    A most[tile], sum[tile];
    std::fill(most, most + n, -std::numeric_limits<A>::infinity());
    std::fill(sum, sum + n, A(0));
    std::fill(here.out, here.out + n * D, A(0));
    gather(here.q, q, stride, n, D);
    for (int k0 = t.begin; k0 < t.end; k0 += block) {
        const int keys = std::min(block, t.end - k0);
        const size_t key = size_t(k0) * D;
        tile_matmul<Into::set, A>(here.p, block, {here.q, D, 1}, here.k_transposed + key, block, n,
                                  keys, D);
        softmax_block(here.p, here.out, most, sum, t, k0, keys, document, s);
        tile_matmul<Into::add, A>(here.out, D, {here.p, block, 1}, here.v + key, D, n, D, keys);
    }
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < D; d++) here.out[i * D + d] /= sum[i];
        lse[i] = most[i] + std::log(sum[i]);
    }
    scatter(out, stride, here.out, n, D);
}

}  // namespace

template <class Real>
size_t attention_workspace(AttentionShape s) {
    return get_threads() * Scratch<Accum<Real>>(nullptr, s).bytes;
}

template <class Real>
void attention_forward(Real* out, Accum<Real>* lse, const Real* q, const Real* k, const Real* v,
                       const int* document, AttentionShape s) {
    void* const memory = workspace<Real>(attention_workspace<Real>(s));
    const int group = s.H / s.KV, kv_stride = s.KV * s.D;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int b = 0; b < s.B; b++)
        for (int kv = 0; kv < s.KV; kv++) {
            const Scratch<Accum<Real>> here = scratch_of_thread<Accum<Real>>(memory, s);
            const size_t key = (size_t(b) * s.Tk * s.KV + kv) * s.D;
            gather(here.k, k + key, kv_stride, s.Tk, s.D);
            gather(here.v, v + key, kv_stride, s.Tk, s.D);
            transpose_blocks(here.k_transposed, here.k, s);
            for (int h = kv * group; h < (kv + 1) * group; h++)
                for (int q0 = 0; q0 < s.Tq; q0 += tile) {
                    const size_t query = ((size_t(b) * s.Tq + q0) * s.H + h) * s.D;
                    tile_forward(out + query, lse + (size_t(b) * s.H + h) * s.Tq + q0, q + query,
                                 document, make_tile(b, q0, document, s), here, s);
                }
        }
}

namespace {

// The scores in p and the gradients of the probabilities in ds become probabilities and gradients
// of the scores: p_ij = exp(scale s_ij - lse_i), ds_ij = scale p_ij (dp_ij - delta_i), 0 where
// unseen.
template <class A>
void softmax_backward_block(A* p, A* ds, const A* delta, const A* lse, const Tile& t, int k0,
                            int keys, const int* document, const AttentionShape& s) {
    const A scale = 1 / std::sqrt(A(s.D));
    for (int i = 0; i < t.queries; i++) {
        A *const p_row = p + i * block, *const ds_row = ds + i * block;
        const Seen seen = seen_in_block(t, i, k0, document, s);
        const int begin = std::min(seen.begin, keys), end = std::max(seen.end, begin);
        std::fill(p_row, p_row + begin, A(0));
        std::fill(ds_row, ds_row + begin, A(0));
#pragma omp simd
        for (int j = begin; j < end; j++) {
            p_row[j] = exp_of(p_row[j] * scale - lse[i]);
            ds_row[j] = scale * p_row[j] * (ds_row[j] - delta[i]);
        }
        if (end < keys) {
            std::fill(p_row + end, p_row + keys, A(0));
            std::fill(ds_row + end, ds_row + keys, A(0));
        }
    }
}

// With p recomputed from lse and delta_i = dout_i . out_i:
//   dv_j += sum_i p_ij dout_i,   dp_ij = dout_i . v_j
//   dq_i  = sum_j ds_ij k_j,     dk_j += sum_i ds_ij q_i
template <class Real>
void tile_backward(Real* dq, const Real* dout, const Real* out, const Real* q,
                   const Accum<Real>* lse, const int* document, const Tile& t,
                   const Scratch<Accum<Real>>& here, const AttentionShape& s) {
    using A = Accum<Real>;
    const int stride = s.H * s.D, D = s.D, n = t.queries;
    gather(here.q, q, stride, n, D);
    gather(here.dout, dout, stride, n, D);
    gather(here.out, out, stride, n, D);
    A delta[tile];
    for (int i = 0; i < n; i++) {
        delta[i] = 0;
        for (int d = 0; d < D; d++) delta[i] += here.dout[i * D + d] * here.out[i * D + d];
    }
    std::fill(here.dq, here.dq + n * D, A(0));
    for (int k0 = t.begin; k0 < t.end; k0 += block) {
        const int keys = std::min(block, t.end - k0);
        const size_t key = size_t(k0) * D;
        tile_matmul<Into::set, A>(here.p, block, {here.q, D, 1}, here.k_transposed + key, block, n,
                                  keys, D);
        tile_matmul<Into::set, A>(here.ds, block, {here.dout, D, 1}, here.v_transposed + key, block,
                                  n, keys, D);
        softmax_backward_block(here.p, here.ds, delta, lse, t, k0, keys, document, s);
        tile_matmul<Into::add, A>(here.dv + key, D, {here.p, 1, block}, here.dout, D, keys, D, n);
        tile_matmul<Into::add, A>(here.dk + key, D, {here.ds, 1, block}, here.q, D, keys, D, n);
        tile_matmul<Into::add, A>(here.dq, D, {here.ds, block, 1}, here.k + key, D, n, D, keys);
    }
    scatter(dq, stride, here.dq, n, D);
}

}  // namespace

template <class Real>
void attention_backward(Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out,
                        const Real* q, const Real* k, const Real* v, const Accum<Real>* lse,
                        const int* document, AttentionShape s) {
    void* const memory = workspace<Real>(attention_workspace<Real>(s));
    const int group = s.H / s.KV, kv_stride = s.KV * s.D;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int b = 0; b < s.B; b++)
        for (int kv = 0; kv < s.KV; kv++) {
            const Scratch<Accum<Real>> here = scratch_of_thread<Accum<Real>>(memory, s);
            const size_t key = (size_t(b) * s.Tk * s.KV + kv) * s.D;
            gather(here.k, k + key, kv_stride, s.Tk, s.D);
            gather(here.v, v + key, kv_stride, s.Tk, s.D);
            transpose_blocks(here.k_transposed, here.k, s);
            transpose_blocks(here.v_transposed, here.v, s);
            std::fill(here.dk, here.dk + size_t(s.Tk) * s.D, Accum<Real>(0));
            std::fill(here.dv, here.dv + size_t(s.Tk) * s.D, Accum<Real>(0));
            for (int h = kv * group; h < (kv + 1) * group; h++)
                for (int q0 = 0; q0 < s.Tq; q0 += tile) {
                    const size_t query = ((size_t(b) * s.Tq + q0) * s.H + h) * s.D;
                    tile_backward(dq + query, dout + query, out + query, q + query,
                                  lse + (size_t(b) * s.H + h) * s.Tq + q0, document,
                                  make_tile(b, q0, document, s), here, s);
                }
            scatter(dk + key, kv_stride, here.dk, s.Tk, s.D);
            scatter(dv + key, kv_stride, here.dv, s.Tk, s.D);
        }
}

#define INSTANTIATE(Real)                                                                        \
    template size_t attention_workspace<Real>(AttentionShape);                                   \
    template void attention_forward(Real*, Accum<Real>*, const Real*, const Real*, const Real*,  \
                                    const int*, AttentionShape);                                 \
    template void attention_backward(Real*, Real*, Real*, const Real*, const Real*, const Real*, \
                                     const Real*, const Real*, const Accum<Real>*, const int*,   \
                                     AttentionShape);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#endif
#undef INSTANTIATE

}  // namespace peri
