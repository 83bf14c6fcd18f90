#include "help/opencl.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "check.h"

EMBED(opencl_common, "help/common.cl");

namespace peri::opencl {

AddressMap<cl_mem> addresses;

void failed(const char* what, cl_int error, const char* file, int line) {
    if (error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_HOST_MEMORY)
        throw OutOfMemory("the device has no memory left for what OpenCL itself needs");
    std::fprintf(stderr, "%s:%d: %s failed: OpenCL's error %d\n", file, line, what, error);
    std::abort();
}

// ---- the device ---------------------------------------------------------------------------------

namespace {

// All devices of all drivers, in their order.
std::vector<cl_device_id> devices() {
    cl_uint count = 0;
    if (clGetPlatformIDs(0, nullptr, &count) != CL_SUCCESS || count == 0) return {};
    std::vector<cl_platform_id> platforms(count);
    CL_CHECK(clGetPlatformIDs(count, platforms.data(), nullptr));
    std::vector<cl_device_id> all;
    for (const cl_platform_id platform : platforms) {
        cl_uint more = 0;
        if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &more) != CL_SUCCESS) continue;
        all.resize(all.size() + more);
        CL_CHECK(
            clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, more, &all[all.size() - more], nullptr));
    }
    return all;
}

cl_device_type type_of(cl_device_id id) {
    cl_device_type type = 0;
    CL_CHECK(clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof type, &type, nullptr));
    return type;
}

// The first GPU, or the first device; OPENCL_DEVICE=N in the environment: number N, from 0.
cl_device_id chosen() {
    const std::vector<cl_device_id> all = devices();
    if (all.empty())
        throw UserError(
            "this machine has no device that OpenCL can use: install its driver "
            "(pocl-opencl-icd computes on the processor), or run ./train, which needs none");
    if (const char* const asked = std::getenv("OPENCL_DEVICE")) {
        char* end;
        const unsigned long number = std::strtoul(asked, &end, 10);
        if (end == asked || *end || number >= all.size())
            throw UserError("OPENCL_DEVICE is " + std::string(asked) +
                            ": give a number from 0 to " + std::to_string(all.size() - 1) +
                            ", as clinfo -l counts the devices");
        return all[number];
    }
    for (const cl_device_id id : all)
        if (type_of(id) & CL_DEVICE_TYPE_GPU) return id;
    return all[0];
}

}  // namespace

cl_device_id device() {
    static const cl_device_id taken = chosen();
    return taken;
}

std::string text_of(cl_device_info what) {
    size_t bytes = 0;
    CL_CHECK(clGetDeviceInfo(device(), what, 0, nullptr, &bytes));
    std::string text(bytes, '\0');
    CL_CHECK(clGetDeviceInfo(device(), what, bytes, text.data(), nullptr));
    return text.c_str();
}

cl_context context() {
    static const cl_context made = [] {
        const cl_device_id id = device();
        cl_int error;
        const cl_context c = clCreateContext(nullptr, 1, &id, nullptr, nullptr, &error);
        CL_CHECK(error);
        return c;
    }();
    return made;
}

cl_command_queue queue() {
    static const cl_command_queue made = [] {
        cl_int error;
        const cl_command_queue q =
            clCreateCommandQueue(context(), device(), CL_QUEUE_PROFILING_ENABLE, &error);
        CL_CHECK(error);
        return q;
    }();
    return made;
}

bool for_processor() {
    static const bool is = [] {
        const char* const asked = std::getenv("OPENCL_AS");
        if (!asked) return (type_of(device()) & CL_DEVICE_TYPE_CPU) != 0;
        const std::string word = asked;
        if (word != "processor" && word != "gpu")
            throw UserError("OPENCL_AS is " + word + ": give processor or gpu");
        return word == "processor";
    }();
    return is;
}

size_t group() { return for_processor() ? 16 : 64; }

size_t wide() { return for_processor() ? 8 : 1; }

// ---- memory -------------------------------------------------------------------------------------

Place place_of(const void* pointer, const char* user) {
    Place place;
    if (addresses.find(place, pointer)) return place;
    std::fprintf(stderr, "bug: %s was given %p, which is no memory of the device\n", user, pointer);
    std::abort();
}

// ---- programs -----------------------------------------------------------------------------------

namespace {

// FNV-1a
uint64_t hash(const std::string& text) {
    uint64_t h = 0xcbf29ce484222325;
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return h;
}

// Where compiled programs are kept from run to run; "": nowhere.
std::string cache_of(const std::string& all_that_counts) {
    const char *const cache = std::getenv("XDG_CACHE_HOME"), *const home = std::getenv("HOME");
    if (!cache && !home) return "";
    const std::string directory =
        (cache ? std::string(cache) : std::string(home) + "/.cache") + "/peri.cpp/opencl";
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    char name[20];
    std::snprintf(name, sizeof name, "/%016llx",
                  static_cast<unsigned long long>(hash(all_that_counts)));
    return error ? "" : directory + name;
}

// null: there is none, or it is another driver's
cl_program from_cache(const std::string& path, const std::string& options) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> binary{std::istreambuf_iterator<char>(file), {}};
    if (binary.empty()) return nullptr;
    const auto* bytes = reinterpret_cast<const unsigned char*>(binary.data());
    const size_t size = binary.size();
    const cl_device_id id = device();
    cl_int status, error;
    const cl_program program =
        clCreateProgramWithBinary(context(), 1, &id, &size, &bytes, &status, &error);
    if (error != CL_SUCCESS) return nullptr;
    if (clBuildProgram(program, 1, &id, options.c_str(), nullptr, nullptr) == CL_SUCCESS)
        return program;
    clReleaseProgram(program);
    return nullptr;
}

// Under another name first: a program that is cut off while it writes leaves nothing half.
void to_cache(const std::string& path, cl_program program) {
    size_t size = 0;
    CL_CHECK(clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, nullptr));
    std::vector<unsigned char> binary(size);
    unsigned char* bytes = binary.data();
    CL_CHECK(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, nullptr));
    const std::string half = path + "." + std::to_string(getpid());
    std::ofstream file(half, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(size));
    file.close();
    std::error_code error;
    if (file) std::filesystem::rename(half, path, error);
    if (!file || error) std::filesystem::remove(half, error);
}

cl_program compiled(const std::string& source, const std::string& options, const char* name) {
    const char* text = source.data();
    const size_t size = source.size();
    const cl_device_id id = device();
    cl_int error;
    const cl_program program = clCreateProgramWithSource(context(), 1, &text, &size, &error);
    CL_CHECK(error);
    if (clBuildProgram(program, 1, &id, options.c_str(), nullptr, nullptr) == CL_SUCCESS)
        return program;
    std::vector<char> log(1 << 20);
    clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, log.size(), log.data(), nullptr);
    std::fprintf(stderr, "bug: OpenCL's compiler refuses %s.cl (%s):\n%s\n", name, options.c_str(),
                 log.data());
    std::abort();
}

cl_program program_of(const File& file, const std::string& type) {
    const std::string source =
        std::string(opencl_common_begin, opencl_common_end) + std::string(file.begin, file.end);
    std::string options = "-cl-std=CL1.2 -DSTORAGE_" + type +
                          " -DGROUP=" + std::to_string(group()) +
                          " -DWIDE=" + std::to_string(wide());
    if (number_of<cl_device_fp_config>(CL_DEVICE_SINGLE_FP_CONFIG) &
        CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT)
        options += " -cl-fp32-correctly-rounded-divide-sqrt";
    const std::string cache = cache_of(source + options + text_of(CL_DEVICE_NAME) +
                                       text_of(CL_DEVICE_VERSION) + text_of(CL_DRIVER_VERSION));
    cl_program program = cache == "" ? nullptr : from_cache(cache, options);
    if (program) return program;
    program = compiled(source, options, file.name);
    if (cache != "") to_cache(cache, program);
    return program;
}

}  // namespace

cl_kernel kernel(const File& file, const char* type, const char* name) {
    static std::map<std::pair<std::string, std::string>, cl_program> programs;
    static std::map<std::tuple<std::string, std::string, std::string>, cl_kernel> kernels;
    cl_kernel& it = kernels[{file.name, type, name}];
    if (it) return it;
    cl_program& program = programs[{file.name, type}];
    if (!program) program = program_of(file, type);
    cl_int error;
    it = clCreateKernel(program, name, &error);
    CL_CHECK(error);
    return it;
}

void enqueue(cl_kernel kernel, const char* name, size_t groups) {
    const size_t size = group(), items = groups * size;
    const cl_int error =
        clEnqueueNDRangeKernel(queue(), kernel, 1, nullptr, &items, &size, 0, nullptr, nullptr);
    if (error != CL_SUCCESS) failed(name, error, __FILE__, __LINE__);
}

}  // namespace peri::opencl
