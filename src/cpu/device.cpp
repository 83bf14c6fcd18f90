#include "device.h"

#include <sys/resource.h>
#include <unistd.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/libraries.h"
#include "cpu/matmul.h"
#include "cpu/onednn.h"
#include "cpu/openmp.h"

namespace peri {

void set_threads(int n) {
    omp_set_num_threads(n);
    set_blas_threads(n);
}

int get_threads() { return omp_get_max_threads(); }

void set_flush_subnormals([[maybe_unused]] bool on) {
#if defined __SSE__
    constexpr unsigned bits = 0x8040;  // MXCSR's: results below are 0, and inputs
    _mm_setcsr(on ? _mm_getcsr() | bits : _mm_getcsr() & ~bits);
#elif defined __aarch64__
    constexpr uint64_t bit = 1 << 24;  // FPCR.FZ: both
    uint64_t control = 0;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    control = on ? control | bit : control & ~bit;
    asm volatile("msr fpcr, %0" : : "r"(control));
#endif
}

// "AMD EPYC, 25, 1, 1": its name, family, model and stepping, or what the system calls them.
std::string processor_name() {
    static const std::set<std::string> wanted = {"model name", "cpu family",      "model",
                                                 "stepping",   "CPU implementer", "CPU part"};
    std::ifstream file("/proc/cpuinfo");
    std::string name;
    for (std::string line; std::getline(file, line) && !line.empty();) {
        const size_t key_end = line.find_last_not_of(" \t", line.find(':') - 1);
        const size_t value = line.find_first_not_of(" \t:", line.find(':'));
        if (value != std::string::npos && wanted.contains(line.substr(0, key_end + 1)))
            name += (name.empty() ? "" : ", ") + line.substr(value);
    }
    return name;
}

#ifndef BACKEND_ELSEWHERE
const char* backend_name() { return "cpu"; }

std::string backend_description() {
    return "cpu: " + blas_description() + onednn_description() + ", " +
           std::to_string(get_threads()) + (get_threads() == 1 ? " thread" : " threads") +
           (has_openmp ? "" : " (built without OpenMP)");
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

bool device_memory_is_host() { return true; }

size_t device_alignment() { return 64; }

std::string backend_choices() { return matmul_choices(); }

std::string set_backend_choices(const std::string& lines) { return set_matmul_choices(lines); }

#endif

namespace {

// One for all types: kernels run one after the other.
struct Workspace {
    void* memory = nullptr;
    size_t bytes = 0;
} shared;

size_t rounded_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

// 0: not known. Without /proc, all that the machine has.
size_t memory_available() {
    std::ifstream file("/proc/meminfo");
    size_t kib = 0;
    for (std::string name; file >> name; file.ignore(100, '\n'))
        if (name == "MemAvailable:" && file >> kib) return kib * 1024;
    const long pages = sysconf(_SC_PHYS_PAGES);
    return file.is_open() || pages < 0 ? 0 : size_t(pages) * sysconf(_SC_PAGESIZE);
}

// What `ulimit -v` leaves.
size_t address_space_left() {
    rlimit limit{};
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
    std::ifstream file("/proc/self/statm");
    size_t pages = 0;
    file >> pages;
    return limit.rlim_cur - std::min<size_t>(limit.rlim_cur, pages * sysconf(_SC_PAGESIZE));
}

}  // namespace

template <class Real>
size_t device_memory_left() {
    return std::min(memory_available(), address_space_left());
}

template <class Real>
size_t device_memory_used() {
#ifdef __APPLE__
    constexpr size_t unit = 1;
#else
    constexpr size_t unit = 1024;
#endif
    rusage usage{};
    return getrusage(RUSAGE_SELF, &usage) == 0 ? size_t(usage.ru_maxrss) * unit : 0;
}

template <class Real>
void* device_allocate(size_t bytes) {
    void* const memory = std::aligned_alloc(64, rounded_up(bytes));
    if (!memory)
        throw OutOfMemory("this machine has no memory for " + std::to_string(bytes >> 20) +
                          " MiB more (" + std::to_string(device_memory_left<Real>() >> 20) +
                          " MiB are left)");
    std::memset(memory, 0, bytes);
    return memory;
}

template <class Real>
void device_free(void* memory) {
    std::free(memory);
}

template <class Real>
void device_upload(void* device, const void* host, size_t bytes) {
    std::memcpy(device, host, bytes);
}

template <class Real>
void device_download(void* host, const void* device, size_t bytes) {
    std::memcpy(host, device, bytes);
}

template <class Real>
void device_copy(void* to, const void* from, size_t bytes) {
#pragma omp parallel for schedule(static)
    for (size_t start = 0; start < bytes; start += 1 << 20)
        std::memcpy(static_cast<char*>(to) + start, static_cast<const char*>(from) + start,
                    std::min<size_t>(1 << 20, bytes - start));
}

template <class Real>
void device_zero(void* device, size_t bytes) {
    char* const memory = static_cast<char*>(device);
#pragma omp parallel for schedule(static)
    for (size_t start = 0; start < bytes; start += 1 << 20)
        std::memset(memory + start, 0, std::min<size_t>(1 << 20, bytes - start));
}

template <class Real>
void device_synchronize() {}

namespace {

using Clock = std::chrono::steady_clock;
std::vector<Clock::time_point> marks;

}  // namespace

template <class Real>
void device_mark(size_t number) {
    if (number >= marks.size()) marks.resize(number + 1);
    marks[number] = Clock::now();
}

template <class Real>
double device_seconds(size_t from, size_t to) {
    return std::chrono::duration<double>(marks[to] - marks[from]).count();
}

template <class Real>
void reserve_workspace(size_t bytes) {
    if (bytes <= shared.bytes) return;
    std::free(shared.memory);
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
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#endif
#undef INSTANTIATE

}  // namespace peri
