// The simulated device's memory, and CUDA's functions for the host.
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <list>
#include <map>
#include <thread>
#include <utility>

#include "guarded.h"

namespace peri::sim {

namespace {

std::map<const char*, Guarded> allocations;  // by where they begin
size_t device_total = size_t(1) << 30, device_used = 0;
int accesses = 0;  // DeviceAccess objects alive
cudaError_t last_error = cudaSuccess;

std::list<Transfer> transfers;

void protect_all(int protection) {
    for (const auto& [begin, memory] : allocations) memory.protect(protection);
}

void wait_for(cudaStream_t stream) {
    while (!transfers_ended(stream)) std::this_thread::yield();
}

// the allocation that holds this address or ends there, or null
const Guarded* allocation_of(const void* address) {
    auto after = allocations.upper_bound(static_cast<const char*>(address));
    if (after == allocations.begin()) return nullptr;
    const Guarded& found = std::prev(after)->second;
    return address <= found.begin + found.bytes ? &found : nullptr;
}

}  // namespace

void set_device_memory(size_t bytes) { device_total = bytes; }

cudaStream_t kernel_stream = nullptr;

DeviceAccess::DeviceAccess(cudaStream_t stream) {
    wait_for(stream);
    if (accesses++ > 0) return;
    protect_all(PROT_READ | PROT_WRITE);
    for (const Transfer& transfer : transfers)
        for (const auto& [begin, bytes] : transfer.ranges) protect_pages(begin, bytes, PROT_NONE);
}
DeviceAccess::~DeviceAccess() {
    if (--accesses == 0) protect_all(PROT_NONE);
}

void begin(Transfer transfer) { transfers.push_back(std::move(transfer)); }

bool transfers_ended(cudaStream_t stream) {
    for (auto transfer = transfers.begin(); transfer != transfers.end();) {
        if (transfer->stream != stream) {
            transfer++;
            continue;
        }
        if (!transfer->arrived()) return false;
        protect_all(PROT_READ | PROT_WRITE);
        transfer->land();
        if (accesses == 0) protect_all(PROT_NONE);
        transfer = transfers.erase(transfer);
    }
    return true;
}

void check_device_range(const char* what, const void* begin, size_t bytes) {
    if (bytes == 0) return;
    const Guarded* const memory = allocation_of(begin);
    if (!memory) fail(std::string(what) + " is not in device memory");
    const size_t left = memory->begin + memory->bytes - static_cast<const char*>(begin);
    if (bytes > left)
        fail(std::string(what) + " has " + std::to_string(bytes) + " bytes, of an allocation of " +
             std::to_string(memory->bytes) + " bytes only " + std::to_string(left) + " are left");
}

void check_argument_pointer(int position, const void* pointer) {
    if (pointer && !allocation_of(pointer))
        fail("argument " + std::to_string(position) +
             " of a kernel points to memory that is not the device's (the host's, or freed)");
}

void check_device_guards() {
    for (const auto& [begin, memory] : allocations)
        if (const std::string damage = memory.damage(); !damage.empty())
            fail("a kernel wrote to device memory " + damage);
}

}  // namespace peri::sim

using namespace peri::sim;

const char* cudaGetErrorString(cudaError_t error) {
    if (error == cudaSuccess) return "no error";
    return error == cudaErrorMemoryAllocation ? "out of memory" : "invalid argument";
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaMalloc(void** address, size_t bytes) {
    *address = nullptr;
    if (bytes == 0) return cudaSuccess;
    const bool fits = bytes <= device_total && device_used <= device_total - bytes;
    const Guarded memory = fits ? Guarded::map(bytes) : Guarded();
    if (!memory.pages) return last_error = cudaErrorMemoryAllocation;
    allocations[memory.begin] = memory;
    device_used += bytes;
    memory.protect(PROT_READ | PROT_WRITE);
    memory.fill();
    memory.protect(PROT_NONE);
    *address = memory.begin;
    return cudaSuccess;
}

// The pages go back to the system, but their addresses stay taken, so that a use after this faults.
cudaError_t cudaFree(void* address) {
    if (!address) return cudaSuccess;
    const auto found = allocations.find(static_cast<char*>(address));
    if (found == allocations.end()) fail("cudaFree of what cudaMalloc did not give, or twice");
    const Guarded& memory = found->second;
    madvise(memory.pages, memory.page_bytes, MADV_DONTNEED);
    device_used -= memory.bytes;
    allocations.erase(found);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* left, size_t* total) {
    *left = device_total - std::min(device_used, device_total);
    *total = device_total;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    const auto check = [bytes](const char* what, const void* memory, bool device) {
        if (device) return check_device_range(what, memory, bytes);
        if (allocation_of(memory)) fail(std::string(what) + " is device memory, not the host's");
    };
    check("the destination of a copy", to,
          kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice);
    check("the source of a copy", from,
          kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice);
    const DeviceAccess access(stream);
    std::memmove(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t stream) {
    check_device_range("the memory of cudaMemsetAsync", memory, bytes);
    const DeviceAccess access(stream);
    std::memset(memory, byte, bytes);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
    static char made;
    *stream = kernel_stream = reinterpret_cast<cudaStream_t>(&made);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return transfers_ended(stream) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    wait_for(stream);
    return cudaSuccess;
}

// An event that was not recorded has no time: using it is an error, as CUDA has it.
struct CUevent_st {
    bool recorded = false;
    std::chrono::steady_clock::time_point time;
};

cudaError_t cudaEventCreate(cudaEvent_t* event) {
    static std::deque<CUevent_st> events;
    *event = &events.emplace_back();
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    *event = {true, std::chrono::steady_clock::now()};
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
    if (!from->recorded || !to->recorded) return cudaErrorInvalidValue;
    *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    if (device < 0 || device >= devices) return cudaErrorInvalidValue;
    *properties = {"simulator", device_total, most_shared, 8, 0, 2};
    return cudaSuccess;
}
