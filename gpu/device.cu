#include "device.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "attention_library.h"
#include "check.h"
#include "comm.h"
#include "cuda.h"
#include "matmul.h"
#include "parallel.h"
#include "real.h"

namespace peri {

[[noreturn]] void cuda_failed(const char* what, const char* file, int line, const char* error) {
    std::fprintf(stderr, "%s:%d: %s failed: %s\n", file, line, what, error);
    std::abort();
}

[[noreturn]] void cuda_failed(const char* what, const char* file, int line, cudaError_t error) {
    if (error == cudaErrorMemoryAllocation)
        throw OutOfMemory("the GPU has no memory left for what CUDA itself needs");
    cuda_failed(what, file, line, cudaGetErrorString(error));
}

namespace {

int devices() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0)
        throw UserError(
            std::string("this machine has no GPU that CUDA can use") +
            (error == cudaSuccess ? "" : std::string(" (") + cudaGetErrorString(error) + ")") +
            ": run ./train, which needs none");
    return count;
}

// Each process of a machine has a GPU of its own.
int take_device() {
    static const int taken = [] {
        if (comm::local_size() > devices())
            throw UserError(std::to_string(comm::local_size()) +
                            " processes on this machine have " + std::to_string(devices()) +
                            " GPUs: start no more than one for each");
        CUDA_CHECK(cudaSetDevice(comm::local_rank()));
        return comm::local_rank();
    }();
    return taken;
}

}  // namespace

cudaStream_t stream() {
    static const cudaStream_t made = [] {
        take_device();
        cudaStream_t s;
        CUDA_CHECK(cudaStreamCreate(&s));
        return s;
    }();
    return made;
}

namespace {

// ", cuDNN 9.19.0" of 91900; nothing of 0
std::string with_version(const char* library, size_t v) {
    if (v == 0) return "";
    return std::string(", ") + library + " " + std::to_string(v / 10000) + "." +
           std::to_string(v / 100 % 100) + "." + std::to_string(v % 100);
}

}  // namespace

const char* backend_name() { return "cuda"; }

std::string backend_description() {
    cudaDeviceProp properties;
    CUDA_CHECK(cudaGetDeviceProperties(&properties, take_device()));
    return std::string("cuda: ") + properties.name + ", " +
           std::to_string(properties.totalGlobalMem >> 20) + " MiB" +
           with_version("cuBLASLt", matmul_version()) + with_version("cuDNN", library_version());
}

namespace {

bool tf32 = false;

}  // namespace

void set_tf32(bool on) { tf32 = on; }

bool get_tf32() { return tf32; }

namespace {

struct Workspace {
    void* memory = nullptr;
    size_t bytes = 0;
} shared;

}  // namespace

#ifdef __CUDACC__
constexpr size_t loaded_later =
    size_t(512) << 20;  // by CUDA: kernels, its own and the libraries', when first used
#else
constexpr size_t loaded_later = 0;
#endif

bool device_memory_is_host() { return false; }

size_t device_alignment() { return 64; }

template <class Real>
size_t device_memory_left() {
    size_t left = 0, all = 0;
    take_device();
    CUDA_CHECK(cudaMemGetInfo(&left, &all));
    return left - std::min(left, loaded_later);
}

// of all processes: CUDA does not tell one's own
template <class Real>
size_t device_memory_used() {
    size_t left = 0, all = 0;
    CUDA_CHECK(cudaMemGetInfo(&left, &all));
    return all - left;
}

template <class Real>
void* device_allocate(size_t bytes) {
    void* memory = nullptr;
    take_device();
    const cudaError_t error = cudaMalloc(&memory, bytes ? bytes : 1);
    if (error == cudaErrorMemoryAllocation) {
        static_cast<void>(cudaGetLastError());  // forgets it
        throw OutOfMemory("the GPU has no memory for " + std::to_string(bytes >> 20) +
                          " MiB more (" + std::to_string(device_memory_left<Real>() >> 20) +
                          " MiB are left)");
    }
    CUDA_CHECK(error);
    CUDA_CHECK(cudaMemsetAsync(memory, 0, bytes, stream()));
    return memory;
}

template <class Real>
void device_free(void* memory) {
    if (!memory) return;
    CUDA_CHECK(cudaStreamSynchronize(stream()));
    CUDA_CHECK(cudaFree(memory));
}

template <class Real>
void device_upload(void* device, const void* host, size_t bytes) {
    if (!bytes) return;
    CUDA_CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream()));
    CUDA_CHECK(cudaStreamSynchronize(stream()));  // host may change now
}

template <class Real>
void device_download(void* host, const void* device, size_t bytes) {
    if (!bytes) return;
    CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()));
    CUDA_CHECK(cudaStreamSynchronize(stream()));
}

template <class Real>
void device_copy(void* to, const void* from, size_t bytes) {
    if (bytes) CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()));
}

template <class Real>
void device_zero(void* device, size_t bytes) {
    if (bytes) CUDA_CHECK(cudaMemsetAsync(device, 0, bytes, stream()));
}

template <class Real>
void device_synchronize() {
    CUDA_CHECK(cudaStreamSynchronize(stream()));
}

namespace {

std::vector<cudaEvent_t> marks;

}  // namespace

template <class Real>
void device_mark(size_t number) {
    while (number >= marks.size()) CUDA_CHECK(cudaEventCreate(&marks.emplace_back()));
    CUDA_CHECK(cudaEventRecord(marks[number], stream()));
}

template <class Real>
double device_seconds(size_t from, size_t to) {
    float milliseconds;
    CUDA_CHECK(cudaEventSynchronize(marks[to]));
    CUDA_CHECK(cudaEventElapsedTime(&milliseconds, marks[from], marks[to]));
    return 1e-3 * milliseconds;
}

template <class Real>
void reserve_workspace(size_t bytes) {
    if (bytes <= shared.bytes) return;
    device_free<Real>(shared.memory);
    shared = {};
    shared = {device_allocate<Real>(bytes), bytes};
}

template <class Real>
void* workspace(size_t bytes) {
    CHECK(bytes <= shared.bytes);
    return shared.memory;
}

#define INSTANTIATE(Real)                                            \
    template void* device_allocate<Real>(size_t);                    \
    template void device_free<Real>(void*);                          \
    template size_t device_memory_left<Real>();                      \
    template size_t device_memory_used<Real>();                      \
    template void device_upload<Real>(void*, const void*, size_t);   \
    template void device_download<Real>(void*, const void*, size_t); \
    template void device_copy<Real>(void*, const void*, size_t);     \
    template void device_zero<Real>(void*, size_t);                  \
    template void device_synchronize<Real>();                        \
    template void device_mark<Real>(size_t);                         \
    template double device_seconds<Real>(size_t, size_t);            \
    template void reserve_workspace<Real>(size_t);                   \
    template void* workspace<Real>(size_t);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
