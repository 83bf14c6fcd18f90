// What every .cu file here uses of CUDA, so that the same file is compiled by nvcc for a GPU and by
// any C++ compiler for the simulator (gpu/sim), which then runs it thread by thread on the CPU.
//
// House rules for kernels, which make that possible:
// - they are started with launch(), never with <<< >>>;
// - shared memory is DYNAMIC_SHARED only: the simulator fills it with NaN between blocks;
// - every thread of a block reaches every __syncthreads, every lane of a mask its warp operation.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace peri {

constexpr int warp_size = 32;
constexpr unsigned all_lanes = 0xffffffff;

// Stops the program with the failed call and its place: after a failed CUDA call nothing that
// follows means anything.
[[noreturn]] void cuda_failed(const char* what, const char* file, int line, const char* error);

// The same of an error of CUDA's; where memory is short, which a launch may find too, OutOfMemory (check.h).
[[noreturn]] void cuda_failed(const char* what, const char* file, int line, cudaError_t error);

#define CUDA_CHECK(call)                                                                         \
    do {                                                                                         \
        const cudaError_t cuda_error = (call);                                                   \
        if (cuda_error != cudaSuccess) peri::cuda_failed(#call, __FILE__, __LINE__, cuda_error); \
    } while (0)

// The one stream that every kernel, copy and product runs on, in order.
cudaStream_t stream();

#ifdef __CUDACC__

// A grid, and the line that launches it.
struct Grid {
    dim3 size;
    const char* file;
    int line;
    Grid(dim3 s, const char* f = __builtin_FILE(), int l = __builtin_LINE())
        : size(s), file(f), line(l) {}
};

// Starts kernel(arguments...) on grid x block threads with so many bytes of dynamic shared memory.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Grid grid, dim3 block, size_t shared_bytes,
            Arguments... arguments) {
    if (shared_bytes > 48 * 1024)  // more must be asked for
        CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                        cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(shared_bytes)));
    kernel<<<grid.size, block, shared_bytes, stream()>>>(arguments...);
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess)
        cuda_failed("launch", grid.file, grid.line, error);
}

#define DYNAMIC_SHARED(type, name)                                 \
    extern __shared__ __align__(16) unsigned char shared_bytes_[]; \
    type* const name = reinterpret_cast<type*>(shared_bytes_)

#endif

}  // namespace peri
