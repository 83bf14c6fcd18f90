#include "device.h"

#include <cblas.h>
#include <omp.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "check.h"
#include "cpu/libraries.h"
#include "cpu/product.h"

namespace peri {

void set_threads(int n) {
    omp_set_num_threads(n);
    openblas_set_num_threads(n);
}

int get_threads() { return omp_get_max_threads(); }

#ifndef CUDA_BACKEND
const char* backend_name() { return "cpu"; }

std::string backend_description() {
    return "cpu: " + openblas_description() + ", " + std::to_string(get_threads()) +
           (get_threads() == 1 ? " thread" : " threads");
}

std::string backend_choices() { return product_choices(); }

std::string set_backend_choices(const std::string& lines) { return set_product_choices(lines); }

#endif

namespace {

// One for all types: kernels run one after the other.
struct Workspace {
    void* memory = nullptr;
    size_t bytes = 0;
} shared;

size_t rounded_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

template <class T>
void* device_allocate(size_t bytes) {
    void* const memory = std::aligned_alloc(64, rounded_up(bytes));
    if (!memory)
        throw UserError("this machine has no memory for " + std::to_string(bytes >> 20) +
                        " MiB more: choose a smaller --size, --batch or --seq");
    std::memset(memory, 0, bytes);
    return memory;
}

template <class T>
size_t device_memory_left() {
    std::ifstream file("/proc/meminfo");
    size_t kib = 0;
    for (std::string name; file >> name; file.ignore(100, '\n'))
        if (name == "MemAvailable:" && file >> kib) return kib * 1024;
    return 0;
}

template <class T>
void device_free(void* memory) {
    std::free(memory);
}

template <class T>
void device_upload(void* device, const void* host, size_t bytes) {
    std::memcpy(device, host, bytes);
}

template <class T>
void device_download(void* host, const void* device, size_t bytes) {
    std::memcpy(host, device, bytes);
}

template <class T>
void device_zero(void* device, size_t bytes) {
    char* const memory = static_cast<char*>(device);
#pragma omp parallel for schedule(static)
    for (size_t start = 0; start < bytes; start += 1 << 20)
        std::memset(memory + start, 0, std::min<size_t>(1 << 20, bytes - start));
}

template <class T>
void device_synchronize() {}

template <class T>
void reserve_workspace(size_t bytes) {
    if (bytes <= shared.bytes) return;
    std::free(shared.memory);
    shared = {};
    shared = {device_allocate<T>(bytes), bytes};
}

template <class T>
void* workspace(size_t bytes) {
    CHECK(bytes <= shared.bytes);
    return shared.memory;
}

#define INSTANTIATE(T)                                            \
    template void* device_allocate<T>(size_t);                    \
    template void device_free<T>(void*);                          \
    template size_t device_memory_left<T>();                      \
    template void device_upload<T>(void*, const void*, size_t);   \
    template void device_download<T>(void*, const void*, size_t); \
    template void device_zero<T>(void*, size_t);                  \
    template void device_synchronize<T>();                        \
    template void reserve_workspace<T>(size_t);                   \
    template void* workspace<T>(size_t);
INSTANTIATE(double)
#ifndef CUDA_BACKEND
INSTANTIATE(float)
INSTANTIATE(bf16)
#endif
#undef INSTANTIATE

}  // namespace peri
