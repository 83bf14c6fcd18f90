// Products on tensor cores: what one warp multiplies together, Narrow (bf16 or fp16) in, float out.
//
// The hardware's unit is a tile c (16,8) += a (16,16) b (16,8), spread over the registers of 32
// lanes. With g = lane / 4 and i = 2 (lane % 4) a lane holds
//   a: rows g and g + 8, columns i, i + 1, i + 8, i + 9    b: rows i, i + 1, i + 8, i + 9, column g
//   c: rows g and g + 8, columns i, i + 1
// so that two neighbouring tiles c, rounded to Narrow, lie as a tile a does: attention's second
// product takes the first one's result from registers.
#pragma once

#include <type_traits>

#include "cuda.h"
#include "real.h"

#ifndef __CUDACC__
#include "async_copy.h"  // the simulator's
#include "tensor_core.h"
#endif

namespace peri {

// ---- instructions -------------------------------------------------------------------------------

#ifdef __CUDACC__

#define MMA(type)                                                       \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type \
                 ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "  \
                 "{%0, %1, %2, %3};"                                    \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
template <class Narrow>
__device__ void mma_16x8x16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    if constexpr (std::is_same_v<Narrow, bf16>)
        MMA("bf16");
    else
        MMA("f16");
}
#undef MMA

// Four 8 x 8 matrices of 16-bit numbers in shared memory; lane l gives the address of row l % 8 of
// matrix l / 8, a multiple of 16 bytes. Of each matrix a lane gets row l / 4, columns 2 (l % 4) and
// the next; of its transpose in the second function.
__device__ inline void load_matrices(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
                 : "memory");
}
__device__ inline void load_matrices_transposed(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
                 : "memory");
}

// Sets out to copy 16 bytes into shared memory, past registers, and goes on; zeros where valid is false,
// and then `from` is not read. They have arrived for the thread that copies once it has waited, for the
// others of its block at the barrier behind that; and they are there to be written from now on, so a
// barrier must lie between the last reading of what was there and this.
__device__ inline void copy_later(void* to_shared, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(to_shared))), "l"(from),
                   "r"(valid ? 16 : 0)
                 : "memory");
}
// Ends a group of copies: those since the last one.
__device__ inline void end_group_of_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until all groups have arrived but the last `later`.
template <int later>
__device__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(later) : "memory");
}

// 2^x to 22 bits, in one instruction; results below 2^-126 are 0.
__device__ inline float exp2_fast(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

// Two numbers as a register holds them, the first in its lower half. What is beyond Narrow becomes
// infinity.
template <class Narrow>
__device__ unsigned pack(float first, float second) {
    unsigned both;
    if constexpr (std::is_same_v<Narrow, bf16>)
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    else
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
}

#endif

// ---- products of tiles --------------------------------------------------------------------------

// A result of a warp: M rows, N columns, in tiles of 16 x 8.
template <int M, int N>
using Tile = float[M / 16][N / 8][4];

// M rows, K columns of Narrow as the first factor of a product.
template <int M, int K>
using Factor = unsigned[M / 16][K / 16][4];

// Row-major in shared memory, `pitch` numbers from row to row.
template <int M, int K, class Narrow>
__device__ void load_factor(Factor<M, K>& f, const Narrow* a, int pitch) {
    const int lane = threadIdx.x % warp_size;
    const Narrow* const row = a + lane % 16 * pitch + lane / 16 * 8;
#pragma unroll
    for (int m = 0; m < M; m += 16)
#pragma unroll
        for (int k = 0; k < K; k += 16) load_matrices(f[m / 16][k / 16], row + m * pitch + k);
}

// An earlier result, rounded: in the registers where it is.
template <class Narrow, int M, int K>
__device__ void round_to_factor(Factor<M, K>& f, const Tile<M, K>& a) {
#pragma unroll
    for (int m = 0; m < M / 16; m++)
#pragma unroll
        for (int k = 0; k < K; k += 16) {
            const float(&left)[4] = a[m][k / 8], (&right)[4] = a[m][k / 8 + 1];
            f[m][k / 16][0] = pack<Narrow>(left[0], left[1]);
            f[m][k / 16][1] = pack<Narrow>(left[2], left[3]);
            f[m][k / 16][2] = pack<Narrow>(right[0], right[1]);
            f[m][k / 16][3] = pack<Narrow>(right[2], right[3]);
        }
}

// 16 columns of c, all of its rows, from column n on: each matrix of b is loaded once for all rows.
template <class Narrow, int M, int N>
__device__ void add_products(Tile<M, N>& c, int n, const unsigned (&a)[M / 16][4],
                             const unsigned (&b)[4]) {
#pragma unroll
    for (int m = 0; m < M / 16; m++) {
        mma_16x8x16<Narrow>(c[m][n / 8], a[m], b[0], b[1]);
        mma_16x8x16<Narrow>(c[m][n / 8 + 1], a[m], b[2], b[3]);
    }
}

// c (M,N) += a b^T over K columns: a (M rows), b (N rows) row-major in shared memory, `pitch` numbers
// from row to row.
template <int M, int N, int K, class Narrow>
__device__ void add_matmul_transposed(Tile<M, N>& c, const Narrow* a, const Narrow* b, int pitch) {
    const int lane = threadIdx.x % warp_size;
    const Narrow* const row_a = a + lane % 16 * pitch + lane / 16 * 8;
    const Narrow* const row_b = b + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < K; k += 16) {
        unsigned rows[M / 16][4];
#pragma unroll
        for (int m = 0; m < M; m += 16) load_matrices(rows[m / 16], row_a + m * pitch + k);
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            unsigned columns[4];
            load_matrices(columns, row_b + n * pitch + k);
            add_products<Narrow, M, N>(c, n, rows, columns);
        }
    }
}

// The same with a in registers.
template <int N, int K, class Narrow>
__device__ void add_matmul_transposed(Tile<16, N>& c, const Factor<16, K>& a, const Narrow* b,
                                      int pitch) {
    const int lane = threadIdx.x % warp_size;
    const Narrow* const row_b = b + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < K; k += 16)
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            unsigned columns[4];
            load_matrices(columns, row_b + n * pitch + k);
            mma_16x8x16<Narrow>(c[0][n / 8], a[0][k / 16], columns[0], columns[1]);
            mma_16x8x16<Narrow>(c[0][n / 8 + 1], a[0][k / 16], columns[2], columns[3]);
        }
}

// c (M,N) += a b: a (M,K) an earlier result, rounded to Narrow; b (K,N) row-major in shared memory.
template <int M, int N, int K, class Narrow>
__device__ void add_matmul(Tile<M, N>& c, const Tile<M, K>& a, const Narrow* b, int pitch) {
    const int lane = threadIdx.x % warp_size;
    const Narrow* const row_b = b + lane % 16 * pitch + lane / 16 * 8;
    Factor<M, K> rounded;
    round_to_factor<Narrow, M, K>(rounded, a);
#pragma unroll
    for (int k = 0; k < K; k += 16) {
        unsigned rows[M / 16][4];
#pragma unroll
        for (int m = 0; m < M / 16; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) rows[m][i] = rounded[m][k / 16][i];
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            unsigned columns[4];
            load_matrices_transposed(columns, row_b + k * pitch + n);
            add_products<Narrow, M, N>(c, n, rows, columns);
        }
    }
}

// Entry e = 0 .. 3 of a lane's part of tile column n / 8: its row, 0 .. 15, and column, 0 .. 7.
__device__ inline int row_of_entry(int e) { return threadIdx.x % warp_size / 4 + e / 2 * 8; }
__device__ inline int column_of_entry(int e) { return threadIdx.x % 4 * 2 + e % 2; }

// The largest, or the sum, over the four lanes that hold one row of a tile.
__device__ inline float row_max(float value) {
    for (const int distance : {1, 2}) {
        const float other = __shfl_xor_sync(all_lanes, value, distance);
        value = other > value ? other : value;
    }
    return value;
}
__device__ inline float row_sum(float value) {
    for (const int distance : {1, 2}) value += __shfl_xor_sync(all_lanes, value, distance);
    return value;
}

}  // namespace peri
