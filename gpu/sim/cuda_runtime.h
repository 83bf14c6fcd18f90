// The simulator's stand-in for NVIDIA's header, found first with -Igpu/sim: what the .cu files use
// of CUDA, for any C++20 compiler. simulator.cpp runs their kernels thread by thread on the CPU,
// and is stricter than a GPU: a kernel that breaks a rule stops the program with block, thread and
// line.
//
// Every call has finished when it returns, but for a library's transfers (begin_transfer). Not simulated: a
// second stream of kernels, __shared__ (house rule: use
// DYNAMIC_SHARED), the order in which blocks see each other's writes, the last bits of CUDA's math.
#pragma once

#include <math.h>  // not <cmath>: as in CUDA, exp(float) without std:: is the float one

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

// ---- the language -------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Loads and stores of 8 and 16 bytes; g++ and clang++ use the alignment as a GPU does.
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// A macro, because the C libraries of some systems have a function of this name.
inline float simulated_rsqrtf(float x) { return 1 / sqrtf(x); }
#define rsqrtf simulated_rsqrtf

// ---- the simulator ------------------------------------------------------------------------------

namespace peri::sim {

// Where a barrier or warp operation stands in the source; as a default argument it is the caller's.
struct Place {
    const char* file;
    int line;
};
constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
}

// A broken rule ends the program through the handler, which prints and aborts unless a test has set
// one that throws. It is called on the stack of whoever called launch(), cudaMemcpyAsync and so on.
[[noreturn]] void fail(const std::string& message);
[[noreturn]] void fail_thread(const char* operation, Place place, const std::string& message);
void set_failure_handler(void (*handler)(const std::string& message));  // null: print and abort

// The order in which the threads of a block take turns, and the first block of a grid, are a
// function of the seed: a kernel that is right gives the same bits under every seed.
void set_seed(uint64_t seed);

// Bytes that the device claims to have.
void set_device_memory(size_t bytes);

using cudaStream_t = struct CUstream_st*;
constexpr int devices = 8;          // each in a process of its own
extern cudaStream_t kernel_stream;  // what cudaStreamCreate has given; null before

// Device memory is out of the host's reach but while one of these lives: around kernels, copies and
// products. So a host that reads what it did not download dies of SIGSEGV. What transfers of other
// streams move stays out of reach, in whole pages: a stream waits for its own alone.
struct DeviceAccess {
    explicit DeviceAccess(cudaStream_t stream = kernel_stream);
    ~DeviceAccess();
    DeviceAccess(const DeviceAccess&) = delete;
    DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// What goes on in a stream while the host does: the ranges that it reads or writes, whether it has
// arrived, which also moves it on, and what is then written to the ranges.
struct Transfer {
    struct Range {
        void* begin;
        size_t bytes;
    };
    cudaStream_t stream;
    std::vector<Range> ranges;
    std::function<bool()> arrived;
    std::function<void()> land;
};
void begin(Transfer transfer);
bool transfers_ended(cudaStream_t stream);

// Fails unless all these bytes lie in one allocation of cudaMalloc.
void check_device_range(const char* what, const void* begin, size_t bytes);

// A pointer handed to a kernel must be null or point into device memory. Pointers inside structs
// are not seen.
void check_argument_pointer(int position, const void* pointer);
template <class Argument>
void check_argument(int position, const Argument& argument) {
    if constexpr (std::is_pointer_v<Argument>) check_argument_pointer(position, argument);
}

struct Indices {
    uint3 thread, block;
    dim3 threads, blocks;
};
extern Indices indices;  // of the thread that runs

unsigned lane();  // of the thread that runs, 0 .. 31
void* dynamic_shared();
void block_barrier(Place place);

// One operation of all lanes of a mask. Each hands in its operands and waits; when all have come,
// compute is called once with the operands of all (null: not in the mask) and leaves the results in
// them. Every warp operation is made of this, a tensor core's tile product too.
void warp_operation(const char* name, unsigned mask, void* operands,
                    void (*compute)(void* const* lanes), Place place);

template <class T>
T shuffle(const char* name, unsigned mask, T value, unsigned source, int width, Place place) {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4, "CUDA shuffles int, float, double");
    if (width != 32) fail_thread(name, place, "only width 32 is simulated");
    if (!(mask >> source & 1))
        fail_thread(name, place, "reads a lane that is not in the mask: " + std::to_string(source));
    struct Operands {
        T value;
        unsigned source;
        T result;
    } mine{value, source, value};
    const auto exchange = [](void* const* lanes) {
        for (int i = 0; i < 32; i++) {
            if (!lanes[i]) continue;
            auto* const reader = static_cast<Operands*>(lanes[i]);
            reader->result = static_cast<const Operands*>(lanes[reader->source])->value;
        }
    };
    warp_operation(name, mask, &mine, exchange, place);
    return mine.result;
}

// call(arguments) for every thread of the grid
void run(dim3 grid, dim3 block, size_t shared_bytes, void (*call)(void*), void* arguments);

}  // namespace peri::sim

namespace peri {

// Runs kernel(arguments...) on grid x block threads with so many bytes of dynamic shared memory.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            Arguments... arguments) {
    static_assert((std::is_trivially_copyable_v<Parameters> && ...),
                  "copied byte by byte to a GPU");
    using Call = std::pair<void (*)(Parameters...), std::tuple<Parameters...>>;
    Call call(kernel, std::tuple<Parameters...>(static_cast<Parameters>(arguments)...));
    int position = 0;
    std::apply([&](const auto&... values) { (sim::check_argument(++position, values), ...); },
               call.second);
    const auto thread = [](void* erased) {
        const Call& all = *static_cast<const Call*>(erased);
        std::apply(all.first, all.second);
    };
    sim::run(grid, block, shared_bytes, thread, &call);
}

}  // namespace peri

#define DYNAMIC_SHARED(type, name) \
    type* const name = static_cast<type*>(::peri::sim::dynamic_shared())

// ---- what kernels call --------------------------------------------------------------------------

inline const uint3& threadIdx = peri::sim::indices.thread;
inline const uint3& blockIdx = peri::sim::indices.block;
inline const dim3& blockDim = peri::sim::indices.threads;
inline const dim3& gridDim = peri::sim::indices.blocks;

inline void __syncthreads(peri::sim::Place place = peri::sim::here()) {
    peri::sim::block_barrier(place);
}
inline void __syncwarp(unsigned mask = 0xffffffff, peri::sim::Place place = peri::sim::here()) {
    peri::sim::warp_operation(
        "__syncwarp", mask, &mask, [](void* const*) {}, place);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              peri::sim::Place place = peri::sim::here()) {
    return peri::sim::shuffle("__shfl_sync", mask, value, source & 31, width, place);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  peri::sim::Place place = peri::sim::here()) {
    const unsigned source = peri::sim::lane() ^ (bits & 31);
    return peri::sim::shuffle("__shfl_xor_sync", mask, value, source, width, place);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   peri::sim::Place place = peri::sim::here()) {
    const unsigned mine = peri::sim::lane();
    const unsigned source = distance < 32 - mine ? mine + distance : mine;
    return peri::sim::shuffle("__shfl_down_sync", mask, value, source, width, place);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              peri::sim::Place place = peri::sim::here()) {
    unsigned vote = predicate != 0;
    const auto count = [](void* const* lanes) {
        unsigned votes = 0;
        for (int i = 0; i < 32; i++)
            if (lanes[i]) votes |= *static_cast<const unsigned*>(lanes[i]) << i;
        for (int i = 0; i < 32; i++)
            if (lanes[i]) *static_cast<unsigned*>(lanes[i]) = votes;
    };
    peri::sim::warp_operation("__ballot_sync", mask, &vote, count, place);
    return vote;
}

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}

// ---- what the host calls ------------------------------------------------------------------------

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorNotReady = 600
};
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();  // and forgets it

enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice
};
using cudaStream_t = peri::sim::cudaStream_t;

cudaError_t cudaMalloc(void** memory, size_t bytes);
template <class T>
cudaError_t cudaMalloc(T** memory, size_t bytes) {
    return cudaMalloc(reinterpret_cast<void**>(memory), bytes);
}
cudaError_t cudaFree(void* memory);
cudaError_t cudaMemGetInfo(size_t* left, size_t* total);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t stream = nullptr);

cudaError_t cudaStreamCreate(cudaStream_t* stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);

// By the host's clock: what was asked of the stream before has finished.
using cudaEvent_t = struct CUevent_st*;
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to);
inline cudaError_t cudaGetDeviceCount(int* count) {
    *count = peri::sim::devices;
    return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount;
};
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
