// Products on tensor cores: what one warp multiplies together, bf16 in, float out.
//
// The hardware's unit is a tile c (16,8) += a (16,16) b (16,8), spread over the registers of 32
// lanes. With g = lane / 4 and i = 2 (lane % 4) a lane holds
//   a: rows g and g + 8, columns i, i + 1, i + 8, i + 9    b: rows i, i + 1, i + 8, i + 9, column g
//   c: rows g and g + 8, columns i, i + 1
// so that two neighbouring tiles c, rounded to bf16, lie as a tile a does: attention's second
// product takes the first one's result from registers.
#pragma once

#include "cuda.h"
#include "real.h"

#ifndef __CUDACC__
#include "tensor_core.h"  // the simulator's
#endif

namespace peri {

// ---- instructions -------------------------------------------------------------------------------

#ifdef __CUDACC__

__device__ inline void mma_16x8x16(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                   unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices of bf16 in shared memory; lane l gives the address of row l % 8 of matrix
// l / 8, a multiple of 16 bytes. Of each matrix a lane gets row l / 4, columns 2 (l % 4) and the
// next; of its transpose in the second function.
__device__ inline void load_matrices(unsigned (&r)[4], const bf16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
                 : "memory");
}
__device__ inline void load_matrices_transposed(unsigned (&r)[4], const bf16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
                 : "memory");
}

// Two numbers as a register holds them, the first in its lower half.
__device__ inline unsigned pack(float first, float second) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
}

#endif

// ---- products of tiles --------------------------------------------------------------------------

// A result of a warp: 16 rows, N columns.
template <int N>
using Tile = float[N / 8][4];

// c (16,N) += a b^T over K columns: a (16 rows), b (N rows) row-major in shared memory, `pitch`
// numbers from row to row. N and K are multiples of 16.
template <int N, int K>
__device__ void add_matmul_transposed(Tile<N>& c, const bf16* a, const bf16* b, int pitch) {
    const int lane = threadIdx.x % warp_size;
    const bf16* const row_a = a + lane % 16 * pitch + lane / 16 * 8;
    const bf16* const row_b = b + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < K; k += 16) {
        unsigned tile_a[4];
        load_matrices(tile_a, row_a + k);
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            unsigned tiles_b[4];
            load_matrices(tiles_b, row_b + n * pitch + k);
            mma_16x8x16(c[n / 8], tile_a, tiles_b[0], tiles_b[1]);
            mma_16x8x16(c[n / 8 + 1], tile_a, tiles_b[2], tiles_b[3]);
        }
    }
}

// c (16,N) += a b: a (16,K) an earlier result, rounded to bf16; b (K,N) row-major in shared memory.
template <int N, int K>
__device__ void add_matmul(Tile<N>& c, const Tile<K>& a, const bf16* b, int pitch) {
    const int lane = threadIdx.x % warp_size;
    const bf16* const row_b = b + lane % 16 * pitch + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < K; k += 16) {
        const float(&left)[4] = a[k / 8], (&right)[4] = a[k / 8 + 1];
        const unsigned tile_a[4] = {pack(left[0], left[1]), pack(left[2], left[3]),
                                    pack(right[0], right[1]), pack(right[2], right[3])};
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            unsigned tiles_b[4];
            load_matrices_transposed(tiles_b, row_b + k * pitch + n);
            mma_16x8x16(c[n / 8], tile_a, tiles_b[0], tiles_b[1]);
            mma_16x8x16(c[n / 8 + 1], tile_a, tiles_b[2], tiles_b[3]);
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
