#include "device.h"

#include <algorithm>
#include <string>
#include <vector>

#include "check.h"
#include "help/opencl.h"

// Memory is OpenCL's buffers, and a device pointer an address behind which there is nothing (address_map.h).

namespace peri {

using namespace opencl;

const char* backend_name() { return "opencl"; }

std::string backend_description() {
    return "opencl: " + text_of(CL_DEVICE_NAME) + ", " + text_of(CL_DEVICE_VERSION) + ", " +
           std::to_string(number_of<cl_ulong>(CL_DEVICE_GLOBAL_MEM_SIZE) >> 20) +
           " MiB, products by " + (for_processor() ? "an own kernel" : "CLBlast");
}

void set_tf32(bool on) {
    if (on)
        throw UserError(
            "--precision tf32 is a number format of NVIDIA GPUs: use fp32 or bf16, or build "
            "train_cuda");
}

bool get_tf32() { return false; }

void set_attention(AttentionBy by) {
    if (by == AttentionBy::library)
        throw UserError(
            "--attention library is cuDNN's, on NVIDIA GPUs: use auto or tiles, or build "
            "train_cuda");
}

// Who computes products is no matter of shapes: there is nothing to choose.
std::string backend_choices() { return ""; }

std::string set_backend_choices(const std::string& lines) {
    return lines.substr(0, lines.find('\n'));
}

namespace {

struct Workspace {
    void* memory = nullptr;
    size_t bytes = 0;
} shared;

size_t held = 0, most_held = 0;  // bytes of all buffers

}  // namespace

bool device_memory_is_host() {
    static const bool is = number_of<cl_bool>(CL_DEVICE_HOST_UNIFIED_MEMORY);
    return is;
}

size_t device_alignment() { return 64; }

template <>
size_t device_memory_left<double>();  // the host's, in src/cpu

// OpenCL does not tell what others hold.
template <class Real>
size_t device_memory_left() {
    const size_t all = number_of<cl_ulong>(CL_DEVICE_GLOBAL_MEM_SIZE);
    const size_t left = all - std::min(all, held), host = device_memory_left<double>();
    return device_memory_is_host() && host ? std::min(left, host) : left;
}

template <class Real>
size_t device_memory_used() {
    return most_held;
}

template <class Real>
void* device_allocate(size_t bytes) {
    const size_t size = (std::max<size_t>(bytes, 1) + 63) / 64 * 64,
                 left = device_memory_left<Real>();
    const size_t most = number_of<cl_ulong>(CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    cl_int error = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    cl_mem buffer = nullptr;
    if (size <= most && size <= left)
        buffer = clCreateBuffer(context(), CL_MEM_READ_WRITE, size, nullptr, &error);
    void* const memory = buffer ? addresses.reserve(size, buffer) : nullptr;
    if (!memory)
        throw OutOfMemory("the device has no memory for " + std::to_string(bytes >> 20) +
                          " MiB more in one piece (" + std::to_string(left >> 20) +
                          " MiB are left, and a piece is at most " + std::to_string(most >> 20) +
                          " MiB)");
    held += size;
    most_held = std::max(most_held, held);
    device_zero<Real>(memory, size);
    return memory;
}

template <class Real>
void device_free(void* memory) {
    if (!memory) return;
    const Place place = place_of(memory, "device_free");
    size_t size = 0;
    CL_CHECK(clGetMemObjectInfo(place.handle, CL_MEM_SIZE, sizeof size, &size, nullptr));
    CL_CHECK(clFinish(queue()));
    CL_CHECK(clReleaseMemObject(place.handle));
    addresses.release(memory);
    held -= size;
}

template <class Real>
void device_upload(void* device, const void* host, size_t bytes) {
    if (!bytes) return;
    const Place to = place_of(device, "device_upload");
    CL_CHECK(clEnqueueWriteBuffer(queue(), to.handle, CL_TRUE, to.offset, bytes, host, 0, nullptr,
                                  nullptr));
}

template <class Real>
void device_download(void* host, const void* device, size_t bytes) {
    if (!bytes) return;
    const Place from = place_of(device, "device_download");
    CL_CHECK(clEnqueueReadBuffer(queue(), from.handle, CL_TRUE, from.offset, bytes, host, 0,
                                 nullptr, nullptr));
}

template <class Real>
void device_copy(void* to, const void* from, size_t bytes) {
    if (!bytes) return;
    const Place a = place_of(from, "device_copy"), b = place_of(to, "device_copy");
    CL_CHECK(clEnqueueCopyBuffer(queue(), a.handle, b.handle, a.offset, b.offset, bytes, 0, nullptr,
                                 nullptr));
}

// The offset must be a multiple of the pattern's bytes, and so must what is filled.
template <class Real>
void device_zero(void* device, size_t bytes) {
    if (!bytes) return;
    const Place to = place_of(device, "device_zero");
    const cl_ulong8 zeros = {};
    const size_t pattern = (to.offset | bytes) % sizeof zeros ? 1 : sizeof zeros;
    CL_CHECK(clEnqueueFillBuffer(queue(), to.handle, &zeros, pattern, to.offset, bytes, 0, nullptr,
                                 nullptr));
}

template <class Real>
void device_synchronize() {
    CL_CHECK(clFinish(queue()));
}

namespace {

std::vector<cl_event> marks;

double seconds_at(cl_event mark) {
    cl_ulong nanoseconds = 0;
    CL_CHECK(clWaitForEvents(1, &mark));
    CL_CHECK(clGetEventProfilingInfo(mark, CL_PROFILING_COMMAND_END, sizeof nanoseconds,
                                     &nanoseconds, nullptr));
    return 1e-9 * static_cast<double>(nanoseconds);
}

}  // namespace

template <class Real>
void device_mark(size_t number) {
    if (number >= marks.size()) marks.resize(number + 1);
    if (marks[number]) CL_CHECK(clReleaseEvent(marks[number]));
    CL_CHECK(clEnqueueMarkerWithWaitList(queue(), 0, nullptr, &marks[number]));
}

template <class Real>
double device_seconds(size_t from, size_t to) {
    return seconds_at(marks[to]) - seconds_at(marks[from]);
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
