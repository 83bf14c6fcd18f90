// How work is spread over a GPU's threads, and sums within a warp. Sums are taken in a fixed order,
// so that the same inputs give the same bits.
#pragma once

#include <algorithm>

#include "cuda.h"

namespace peri {

constexpr int block_size = 256;  // threads
constexpr int warps_in_block = block_size / warp_size;

// ---- one thread an entry ------------------------------------------------------------------------

// Blocks for n entries: enough to fill any GPU; each thread takes further ones in strides.
inline dim3 blocks_for(size_t n) {
    return dim3(static_cast<unsigned>(std::min<size_t>((n + block_size - 1) / block_size, 8192)));
}

__device__ inline size_t first_entry() { return size_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline size_t entry_stride() { return size_t(gridDim.x) * blockDim.x; }

// ---- one warp a row -----------------------------------------------------------------------------

inline dim3 blocks_for_rows(size_t rows) {
    return dim3(static_cast<unsigned>((rows + warps_in_block - 1) / warps_in_block));
}

// The row of the calling warp; there may be fewer rows than warps.
__device__ inline size_t row_of_warp() {
    return size_t(blockIdx.x) * warps_in_block + threadIdx.x / warp_size;
}
__device__ inline int lane_of_thread() { return threadIdx.x % warp_size; }

// Every lane gets the sum, or the largest, of all 32 values.
template <class A>
__device__ A warp_sum(A value) {
    for (int distance = warp_size / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(all_lanes, value, distance);
    return value;
}

template <class A>
__device__ A warp_max(A value) {
    for (int distance = warp_size / 2; distance > 0; distance /= 2) {
        const A other = __shfl_xor_sync(all_lanes, value, distance);
        value = other > value ? other : value;
    }
    return value;
}

// ---- one block a row ----------------------------------------------------------------------------

// Every thread gets the result over all threads of the block; shared: warps_in_block numbers, not
// in use by anyone.
template <class A>
__device__ A block_sum(A value, A* shared) {
    value = warp_sum(value);
    __syncthreads();
    if (lane_of_thread() == 0) shared[threadIdx.x / warp_size] = value;
    __syncthreads();
    A sum = 0;
    for (int w = 0; w < warps_in_block; w++) sum += shared[w];
    return sum;
}

template <class A>
__device__ A block_max(A value, A* shared) {
    value = warp_max(value);
    __syncthreads();
    if (lane_of_thread() == 0) shared[threadIdx.x / warp_size] = value;
    __syncthreads();
    A most = shared[0];
    for (int w = 1; w < warps_in_block; w++) most = shared[w] > most ? shared[w] : most;
    return most;
}

// ---- numbers ------------------------------------------------------------------------------------

template <class A>
__device__ A sigmoid(A x) {
    return 1 / (1 + exp(-x));
}

}  // namespace peri
