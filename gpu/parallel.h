// How work is spread over a GPU's threads, and sums within a warp. Sums are taken in a fixed order,
// so that the same inputs give the same bits.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cuda.h"
#include "real.h"

namespace peri {

constexpr int block_size = 256;  // threads
constexpr int warps_in_block = block_size / warp_size;

// ---- one thread an entry ------------------------------------------------------------------------

// Blocks for n entries: enough to fill any GPU; each thread takes further ones in strides.
inline dim3 blocks_for(size_t n) {
    return dim3(static_cast<unsigned>(std::min<size_t>((n + block_size - 1) / block_size, 8192)));
}

// W: how many neighbours a thread takes at once
template <int W = 1>
__device__ size_t first_entry() {
    return W * (size_t(blockIdx.x) * blockDim.x + threadIdx.x);
}
template <int W = 1>
__device__ size_t entry_stride() {
    return W * size_t(gridDim.x) * blockDim.x;
}

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

// Every thread gets the result over all threads of the block; shared: a number a warp, not in use by
// anyone.
template <class A>
__device__ A block_sum(A value, A* shared) {
    value = warp_sum(value);
    __syncthreads();
    if (lane_of_thread() == 0) shared[threadIdx.x / warp_size] = value;
    __syncthreads();
    A sum = 0;
    for (unsigned w = 0; w < blockDim.x / warp_size; w++) sum += shared[w];
    return sum;
}

// ---- several entries a thread -------------------------------------------------------------------

#if defined(__CUDACC__) && !defined(__HIP__)  // PTX
// fp16 with the GPU's own conversions: an instruction each, where those of real.h are some twenty.
struct Half {
    uint16_t bits;
    Half() = default;
    __device__ Half(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
    __device__ operator float() const {
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
        return x;
    }
};
// What a number of type T is in a thread's registers.
template <class T>
using InRegisters = std::conditional_t<std::is_same_v<T, fp16>, Half, T>;
#else
template <class T>
using InRegisters = T;
#endif

// W neighbouring numbers, loaded and stored by one instruction: their address is a multiple of their bytes.
template <class T, int W>
struct alignas(W * sizeof(T) <= 16 ? W * sizeof(T) : 16) Pack {
    InRegisters<T> numbers[W];
    __device__ InRegisters<T>& operator[](int k) { return numbers[k]; }
    __device__ const InRegisters<T>& operator[](int k) const { return numbers[k]; }
};
template <int W, class T>
__device__ Pack<T, W> load(const T* from) {
    return *reinterpret_cast<const Pack<T, W>*>(from);
}
template <int W, class T>
__device__ Pack<T, W> load_if(bool wanted, const T* from) {  // zeros where it is not
    return wanted ? load<W>(from) : Pack<T, W>{};
}
template <int W, class T>
__device__ void store(T* to, const Pack<T, W>& numbers) {
    *reinterpret_cast<Pack<T, W>*>(to) = numbers;
}

// How many Real are 16 bytes, the most that an instruction loads.
template <class Real>
constexpr int wide = 16 / sizeof(Real);

template <class T>
bool begins_wide(T argument) {
    if constexpr (std::is_pointer_v<T>)
        return reinterpret_cast<size_t>(argument) % 16 == 0;
    else
        return true;
}

// Starts a kernel that takes n entries, `wide<Real>` a thread where all pointers and n allow it, else one:
// launch_entries<Real>(kernel<Real, wide<Real>>, kernel<Real, 1>, n, arguments...).
template <class Real, class... Parameters, class... Arguments>
void launch_entries(void (*packed)(Parameters...), void (*plain)(Parameters...), size_t n,
                    Arguments... arguments) {
    if (n % wide<Real> == 0 && (begins_wide(arguments) && ...))
        launch(packed, blocks_for(n / wide<Real>), block_size, 0, arguments...);
    else
        launch(plain, blocks_for(n), block_size, 0, arguments...);
}

// ---- numbers ------------------------------------------------------------------------------------

template <class A>
__device__ A sigmoid(A x) {
    return 1 / (1 + exp(-x));
}

}  // namespace peri
