// What every file here uses of OpenCL: one device, one queue in order, kernels compiled when first used.
#pragma once

#include <CL/cl.h>

#include <cstddef>
#include <string>
#include <type_traits>

#include "address_map.h"
#include "data/embed.h"
#include "real.h"

namespace peri::opencl {

// Stops the program with the failed call and its place.
[[noreturn]] void failed(const char* what, cl_int error, const char* file, int line);

#define CL_CHECK(call)                                                                           \
    do {                                                                                         \
        const cl_int cl_error = (call);                                                          \
        if (cl_error != CL_SUCCESS) ::peri::opencl::failed(#call, cl_error, __FILE__, __LINE__); \
    } while (0)

cl_device_id device();
cl_context context();
cl_command_queue queue();

// Whether kernels are as a processor likes them: where the device is one. OPENCL_AS in the environment, processor or gpu,
// chooses otherwise, so that what is for GPUs is tested without one.
bool for_processor();

std::string text_of(cl_device_info what);
template <class Number>
Number number_of(cl_device_info what) {
    Number number = 0;
    CL_CHECK(clGetDeviceInfo(device(), what, sizeof number, &number, nullptr));
    return number;
}

// ---- memory -------------------------------------------------------------------------------------

using Place = AddressMap<cl_mem>::Place;
extern AddressMap<cl_mem> addresses;

// Where a device pointer lies; stops with the name of its user where it is none.
Place place_of(const void* pointer, const char* user);

// ---- kernels ------------------------------------------------------------------------------------

// A group's work-items, which kernels know as GROUP, and the numbers that one of them takes at once: a vector of a
// processor; a GPU's work-items are themselves the lanes of one.
size_t group();
size_t wide();

// A file of kernels, such as {"norm", begin, end} of its text.
struct File {
    const char *name, *begin, *end;
};

template <class Real>
constexpr const char* type_name = std::is_same_v<Real, float>  ? "float"
                                  : std::is_same_v<Real, bf16> ? "bf16"
                                                               : "fp16";

// The kernel of that name, compiled for a type of storage.
cl_kernel kernel(const File& file, const char* type, const char* name);

// Local memory of a group as an argument.
struct Local {
    size_t bytes;
};

// Sets a kernel's arguments one by one. A pointer is two of them, its buffer and the place in it, counted in what it
// points to.
class Arguments {
  public:
    Arguments(cl_kernel kernel, const char* name) : kernel_(kernel), name_(name) {}

    template <class T>
    void add(T* pointer) {
        const Place place = pointer ? place_of(pointer, name_) : Place{nullptr, 0};
        set(sizeof(cl_mem), &place.handle);
        add(place.offset / sizeof(T));
    }
    void add(size_t number) {
        const cl_ulong all = number;
        set(sizeof all, &all);
    }
    void add(Local local) { set(local.bytes, nullptr); }
    template <class T>
    requires(!std::is_pointer_v<T>) void add(const T& value) { set(sizeof value, &value); }

  private:
    cl_kernel kernel_;
    const char* name_;
    cl_uint number_ = 0;

    void set(size_t bytes, const void* value) {
        CL_CHECK(clSetKernelArg(kernel_, number_++, bytes, value));
    }
};

void enqueue(cl_kernel kernel, const char* name, size_t groups);

// Starts so many groups of a kernel.
template <class Real, class... A>
void launch(const File& file, const char* name, size_t groups, A... arguments) {
    const cl_kernel it = kernel(file, type_name<Real>, name);
    Arguments set(it, name);
    (set.add(arguments), ...);
    enqueue(it, name, groups);
}

// Groups for n numbers, of which each work-item takes wide().
inline size_t groups_for(size_t n) {
    const size_t numbers = group() * wide();
    return (n + numbers - 1) / numbers;
}

}  // namespace peri::opencl
