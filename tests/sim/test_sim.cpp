// The simulator that runs CUDA kernels on the CPU: kernels that are right give the right numbers,
// and each rule is broken once and the breach found.
#define CATCH_CONFIG_RUNNER
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>

#include "catch.h"
#include "cuda.h"
#include "real.h"
#include "shared.h"

using namespace peri;

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }

namespace {

constexpr uint64_t seeds[] = {1, 2, 3, 4, 5};

// How a child process that runs action ends: 0, or the signal that killed it.
template <class Action>
int signal_that_ends(Action action) {
    const pid_t child = fork();
    if (child == 0) {
        for (const int number : {SIGSEGV, SIGBUS, SIGABRT}) std::signal(number, SIG_DFL);
        action();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// ---- kernels ------------------------------------------------------------------------------------

// sums[b] = the sum of block b's numbers; without barriers it is wrong
template <bool barriers>
__global__ void __launch_bounds__(1024) block_sums(float* sums, const float* x) {
    DYNAMIC_SHARED(float, part);
    part[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    if (barriers) __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        if (barriers) __syncthreads();
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = part[0];
}

template <class T>
__device__ __forceinline__ T warp_sum(T x) {
    for (int bits = 16; bits > 0; bits /= 2) x += __shfl_xor_sync(all_lanes, x, bits);
    return x;
}

template <class T>
__global__ void warp_sums(T* sums, const T* x) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    const T sum = warp_sum(x[i]);
    if (threadIdx.x % 32 == 0) sums[i / 32] = sum;
}

// y (columns, rows) = the transpose of x (rows, columns), by tiles of 16 x 16
__global__ void transpose(float* y, const float* x, int rows, int columns) {
    DYNAMIC_SHARED(float, tile);
    const int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
    if (row < rows && column < columns)
        tile[threadIdx.y * 17 + threadIdx.x] = x[row * columns + column];
    __syncthreads();
    const int row_of_y = blockIdx.x * 16 + threadIdx.y, column_of_y = blockIdx.y * 16 + threadIdx.x;
    if (row_of_y < columns && column_of_y < rows)
        y[row_of_y * rows + column_of_y] = tile[threadIdx.x * 17 + threadIdx.y];
}

// every thread writes its place in the grid to its place in the array
__global__ void places(unsigned* place) {
    const dim3 g = gridDim, b = blockDim;
    const unsigned block = blockIdx.x + g.x * (blockIdx.y + g.y * blockIdx.z);
    const unsigned thread = threadIdx.x + b.x * (threadIdx.y + b.y * threadIdx.z);
    place[block * (b.x * b.y * b.z) + thread] =
        ((((blockIdx.x * 10 + blockIdx.y) * 10 + blockIdx.z) * 10 + threadIdx.x) * 10 +
         threadIdx.y) *
            10 +
        threadIdx.z;
}

__global__ void count(int* integer, float* single, double* wide) {
    atomicAdd(integer, 1);
    atomicAdd(single, 0.5f);
    atomicAdd(wide, 0.25);
}

__global__ void shuffles(int* from_5, double* next, unsigned* odd) {
    const int i = threadIdx.x;
    from_5[i] = __shfl_sync(all_lanes, i * i, 5);
    next[i] = __shfl_down_sync(all_lanes, i * 0.5, 1);
    __syncwarp();
    odd[i] = __ballot_sync(all_lanes, i % 2);
}

// the two halves of a warp go separate ways, then meet
__global__ void halves(int* sums) {
    int x = threadIdx.x;
    if (threadIdx.x < 16)
        for (int bits = 8; bits > 0; bits /= 2) x += __shfl_xor_sync(0x0000ffff, x, bits);
    else
        x = __shfl_sync(0xffff0000, x, 20);
    __syncwarp();
    sums[threadIdx.x] = x + __shfl_xor_sync(all_lanes, x, 16);
}

// a sum over a warp as one operation of its own, the way a tensor core's product is made
struct Summand {
    double x, sum;
};
__global__ void own_operation(double* sums) {
    Summand mine{threadIdx.x * 1.5, 0};
    const auto add = [](void* const* lanes) {
        double sum = 0;
        for (int i = 0; i < 32; i++) sum += static_cast<const Summand*>(lanes[i])->x;
        for (int i = 0; i < 32; i++) static_cast<Summand*>(lanes[i])->sum = sum;
    };
    sim::warp_operation("own", all_lanes, &mine, add, sim::here());
    sums[threadIdx.x] = mine.sum;
}

__global__ void touch(float* x, int from, int to) {
    if (threadIdx.x == 0 && blockIdx.x == 0) x[to] = x[from];
}
__global__ void shared_write(int place) {
    DYNAMIC_SHARED(float, memory);
    if (threadIdx.x == 3) memory[place] = 1;
}
__global__ void shared_read(float* y) {
    DYNAMIC_SHARED(float, memory);
    y[threadIdx.x] = memory[threadIdx.x];
    memory[threadIdx.x] = 1;
}

// one way each of breaking a rule
enum class Breach {
    barrier_in_branch,
    early_end,
    two_barriers,
    barrier_and_warp,
    ended_lane,
    missing_lane,
    masks,
    kinds,
    source,
    own_lane,
    width
};
__global__ void breach(Breach what) {
    const unsigned i = threadIdx.x;
    switch (what) {
        case Breach::barrier_in_branch:
            if (i < 7) __syncthreads();
            break;
        case Breach::early_end:
            if (i == 5) return;
            __syncthreads();
            break;
        case Breach::two_barriers:
            if (i < 32)
                __syncthreads();
            else
                __syncthreads();
            break;
        case Breach::barrier_and_warp:
            if (i == 9) __syncthreads();
            __syncwarp();
            break;
        case Breach::ended_lane:
            if (i == 4) return;
            __shfl_xor_sync(all_lanes, 1, 1);
            break;
        case Breach::missing_lane:
            __syncwarp();
            break;
        case Breach::masks:
            __syncwarp(i % 2 ? all_lanes : 0x7fffffff);
            break;
        case Breach::kinds:
            if (i % 2)
                __shfl_xor_sync(all_lanes, 1, 1);
            else
                __shfl_sync(all_lanes, 1, 1);
            break;
        case Breach::source:
            if (i < 16) __shfl_sync(0xffff, 1, 20);
            break;
        case Breach::own_lane:
            __syncwarp(0xffff);
            break;
        case Breach::width:
            __shfl_sync(all_lanes, 1, 1, 16);
            break;
    }
}
std::string complaint_about(Breach what, int threads = 64) {
    return complaint([&] { launch(breach, 2, threads, 0, what); });
}

}  // namespace

TEST_CASE("simulator: sums by shared memory and by shuffles, under every seed", "[sim]") {
    const std::vector<float> x = random_numbers(5 * 128, 1);
    const DeviceArray<float> from(x), to(5), of_warps(20);
    for (const uint64_t seed : seeds) {
        sim::set_seed(seed);
        launch(block_sums<true>, 5, 128, 128 * sizeof(float), to.data, from.data);
        launch(warp_sums<float>, 5, 128, 0, of_warps.data, from.data);
        const std::vector<float> sums = to.values(), warps = of_warps.values();
        for (int block = 0; block < 5; block++) {
            double expected = 0;
            for (int i = 0; i < 128; i++) expected += x[block * 128 + i];
            CHECK(sums[block] == peri::near(expected, 1e-5));
            const float* const w = &warps[block * 4];
            CHECK(w[0] + w[1] + w[2] + w[3] == peri::near(expected, 1e-5));
        }
    }
    sim::set_seed(1);
}

TEST_CASE("simulator: a missing barrier shows in the numbers", "[sim]") {
    const std::vector<float> x(256, 1.0f);
    const DeviceArray<float> from(x), to(1);
    int wrong = 0;
    for (const uint64_t seed : seeds) {
        sim::set_seed(seed);
        launch(block_sums<false>, 1, 256, 256 * sizeof(float), to.data, from.data);
        if (!(to.values()[0] == 256)) wrong++;
    }
    sim::set_seed(1);
    CHECK(wrong == std::ssize(seeds));
}

TEST_CASE("simulator: a transpose by tiles, of odd sizes", "[sim]") {
    const int rows = 37, columns = 21;
    const std::vector<float> x = random_numbers(rows * columns, 2);
    const DeviceArray<float> from(x), to(rows * columns);
    launch(transpose, dim3(2, 3), dim3(16, 16), 16 * 17 * sizeof(float), to.data, from.data, rows,
           columns);
    const std::vector<float> y = to.values();
    int wrong = 0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) wrong += y[j * rows + i] != x[i * columns + j];
    CHECK(wrong == 0);
}

TEST_CASE("simulator: indices in three dimensions", "[sim]") {
    const DeviceArray<unsigned> to(24 * 24);
    launch(places, dim3(2, 3, 4), dim3(4, 2, 3), 0, to.data);
    const std::vector<unsigned> place = to.values();
    size_t i = 0;
    int wrong = 0;
    for (unsigned z = 0; z < 4; z++)
        for (unsigned y = 0; y < 3; y++)
            for (unsigned x = 0; x < 2; x++)
                for (unsigned c = 0; c < 3; c++)
                    for (unsigned b = 0; b < 2; b++)
                        for (unsigned a = 0; a < 4; a++)
                            wrong += place[i++] !=
                                     x * 100000 + y * 10000 + z * 1000 + a * 100 + b * 10 + c;
    CHECK(wrong == 0);
}

TEST_CASE("simulator: atomics, shuffles of each kind, warp operations of one's own", "[sim]") {
    const DeviceArray<int> integer(std::vector<int>{0}), squares(32), of_halves(32);
    const DeviceArray<float> single(std::vector<float>{0});
    const DeviceArray<double> wide(std::vector<double>{0}), next(32), own(32);
    const DeviceArray<unsigned> odd(32);
    launch(count, 3, 100, 0, integer.data, single.data, wide.data);
    CHECK(integer.values()[0] == 300);
    CHECK(single.values()[0] == 150);
    CHECK(wide.values()[0] == 75);

    launch(shuffles, 1, 32, 0, squares.data, next.data, odd.data);
    launch(halves, 1, 32, 0, of_halves.data);
    launch(own_operation, 1, 32, 0, own.data);
    for (int i = 0; i < 32; i++) {
        CHECK(squares.values()[i] == 25);
        CHECK(next.values()[i] == (i < 31 ? i + 1 : 31) * 0.5);
        CHECK(odd.values()[i] == 0xaaaaaaaa);
        CHECK(of_halves.values()[i] == 120 + 20);
        CHECK(own.values()[i] == 1.5 * 496);
    }
}

TEST_CASE("simulator: rsqrtf, cudaDeviceProp, and a stream", "[sim]") {
    CHECK(rsqrtf(4.0f) == 0.5f);
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
    CHECK(std::string(properties.name) == "simulator");
    CHECK(properties.major == 8);
    CHECK(cudaGetDeviceProperties(&properties, 8) == cudaErrorInvalidValue);
    int devices = 0;
    CHECK(cudaGetDeviceCount(&devices) == cudaSuccess);
    CHECK(devices == 8);
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream) == cudaSuccess);
    CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
}

TEST_CASE("simulator: threads that do not meet are found, with block, threads and lines", "[sim]") {
    CHECK_THAT(complaint_about(Breach::barrier_in_branch),
               contains("waits at __syncthreads") && contains("test_sim.cpp:") &&
                   contains("has ended") && contains("block (") && contains("thread ("));
    CHECK_THAT(complaint_about(Breach::early_end), contains("thread (5,0,0) has ended"));
    CHECK_THAT(complaint_about(Breach::two_barriers), contains("meet at different barriers"));
    CHECK_THAT(complaint_about(Breach::barrier_and_warp),
               contains("waits in __syncwarp of lanes 0xffffffff") &&
                   contains("thread (9,0,0) waits at __syncthreads"));
    CHECK_THAT(complaint_about(Breach::ended_lane),
               contains("__shfl_xor_sync") && contains("thread (4,0,0) has ended"));
    CHECK_THAT(complaint_about(Breach::missing_lane, 40), contains("has no such lane: 8"));
    CHECK_THAT(complaint_about(Breach::masks),
               contains("of lanes 0x7fffffff") && contains("of lanes 0xffffffff"));
    CHECK_THAT(complaint_about(Breach::kinds),
               contains("in __shfl_xor_sync of") && contains("in __shfl_sync of"));
    CHECK_THAT(complaint_about(Breach::source), contains("not in the mask: 20"));
    CHECK_THAT(complaint_about(Breach::own_lane), contains("its own lane is not in the mask"));
    CHECK_THAT(complaint_about(Breach::width), contains("only width 32"));
    // and a kernel that is right still runs after all that
    const DeviceArray<float> from(std::vector<float>(64, 1.0f)), to(1);
    launch(block_sums<true>, 1, 64, 64 * sizeof(float), to.data, from.data);
    CHECK(to.values()[0] == 64);
}

TEST_CASE("simulator: sizes that a GPU refuses", "[sim]") {
    const auto refused = [](dim3 grid, dim3 block, size_t bytes) {
        return complaint([&] { launch(shared_write, grid, block, bytes, 0); });
    };
    CHECK_THAT(refused(1, 1025, 64), contains("at most 1024 threads"));
    CHECK_THAT(refused(1, dim3(2, 2, 65), 64), contains("64 along z"));
    CHECK_THAT(refused(0, 32, 64), contains("none"));
    CHECK_THAT(refused(1, dim3(32, 0), 64), contains("none"));
    CHECK_THAT(refused(dim3(1, 65536), 32, 64), contains("65535"));
    CHECK_THAT(refused(1, 32, 163 * 1024 + 1), contains("bytes of shared memory"));
    CHECK(refused(1, 1024, 163 * 1024) == "");
}

TEST_CASE("simulator: shared memory has bounds, and starts as NaN in every block", "[sim]") {
    const auto write = [](int place, size_t bytes) {
        return complaint([&] { launch(shared_write, 1, 32, bytes, place); });
    };
    CHECK(write(9, 40) == "");
    CHECK_THAT(write(10, 40),
               contains("shared memory was written to 0 bytes behind the end of 40"));
    CHECK_THAT(write(12, 40), contains("8 bytes behind the end"));
    CHECK_THAT(write(-1, 40), contains("before the begin"));
    CHECK_THAT(write(0, 0), contains("behind the end of 0 bytes"));
    CHECK(write(0, 40) == "");

    const DeviceArray<float> to(32);
    launch(shared_read, 3, 32, 32 * sizeof(float), to.data);
    for (const float x : to.values()) CHECK(std::isnan(x));
}

TEST_CASE("simulator: device memory is out of the host's reach, and has bounds", "[sim]") {
    const DeviceArray<float> x(std::vector<float>(10, 1.0f));
    float* const data = x.data;
    CHECK(signal_that_ends([&] { static_cast<volatile float*>(data)[3]; }) == SIGSEGV);
    CHECK(signal_that_ends([&] { data[3] = 1; }) == SIGSEGV);
    CHECK(signal_that_ends([&] { launch(touch, 1, 32, 0, data, 3, 4); }) == 0);
    CHECK(signal_that_ends([&] { launch(touch, 1, 32, 0, data, 3, 1000); }) == SIGSEGV);
    CHECK(signal_that_ends([&] { launch(touch, 1, 32, 0, data, -2000, 3); }) == SIGSEGV);
    CHECK_THAT(complaint([&] {
                   DeviceArray<float> other(10);
                   launch(touch, 1, 32, 0, other.data, 3, 10);
               }),
               contains("a kernel wrote to device memory 0 bytes behind the end of 40 bytes"));
    CHECK_THAT(complaint([&] {
                   DeviceArray<float> other(10);
                   launch(touch, 1, 32, 0, other.data, 3, -1);
               }),
               contains("4 bytes before the begin"));

    float* freed = nullptr;
    CHECK(cudaMalloc(&freed, 40) == cudaSuccess);
    CHECK(cudaFree(freed) == cudaSuccess);
    CHECK(cudaFree(nullptr) == cudaSuccess);
    CHECK_THAT(complaint([&] { cudaFree(freed); }), contains("or twice"));
    float on_host[4] = {};
    CHECK_THAT(complaint([&] { launch(touch, 1, 32, 0, freed, 0, 1); }), contains("argument 1"));
    CHECK_THAT(complaint([&] { launch(touch, 1, 32, 0, static_cast<float*>(on_host), 0, 1); }),
               contains("not the device's"));

    for (const float value : DeviceArray<float>(100).values()) CHECK(std::isnan(value));
}

TEST_CASE("simulator: copies stay inside an allocation and go where they say", "[sim]") {
    const DeviceArray<float> x(10), y(10);
    float on_host[16] = {};
    const auto copy = [](void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
        return complaint([&] { cudaMemcpyAsync(to, from, bytes, kind); });
    };
    CHECK(copy(x.data, on_host, 40, cudaMemcpyHostToDevice) == "");
    CHECK(copy(y.data, x.data, 40, cudaMemcpyDeviceToDevice) == "");
    CHECK(copy(on_host, y.data + 2, 32, cudaMemcpyDeviceToHost) == "");
    CHECK_THAT(copy(x.data, on_host, 41, cudaMemcpyHostToDevice), contains("only 40 are left"));
    CHECK_THAT(copy(on_host, y.data + 2, 36, cudaMemcpyDeviceToHost), contains("only 32 are left"));
    CHECK_THAT(copy(on_host, on_host, 4, cudaMemcpyHostToDevice), contains("not in device memory"));
    CHECK_THAT(copy(x.data, y.data, 4, cudaMemcpyDeviceToHost), contains("is device memory"));
    CHECK_THAT(complaint([&] { cudaMemsetAsync(x.data, 0, 41); }), contains("only 40 are left"));
    CHECK(cudaMemsetAsync(x.data, 0, 40) == cudaSuccess);
    for (const float value : x.values()) CHECK(value == 0);
}

TEST_CASE("simulator: device memory runs out", "[sim]") {
    sim::set_device_memory(1000);
    float *first = nullptr, *second = nullptr;
    size_t left = 0, total = 0;
    CHECK(cudaMalloc(&first, 600) == cudaSuccess);
    CHECK(cudaMemGetInfo(&left, &total) == cudaSuccess);
    CHECK(left == 400);
    CHECK(total == 1000);
    CHECK(cudaMalloc(&second, 401) == cudaErrorMemoryAllocation);
    CHECK(second == nullptr);
    CHECK(std::string(cudaGetErrorString(cudaGetLastError())) == "out of memory");
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(cudaMalloc(&second, 400) == cudaSuccess);
    cudaFree(first);
    cudaFree(second);
    sim::set_device_memory(size_t(1) << 30);
}

// ---- cost ---------------------------------------------------------------------------------------

namespace {

__global__ void barriers(int n) {
    for (int i = 0; i < n; i++) __syncthreads();
}
__global__ void exchanges(int n) {
    int x = 0;
    for (int i = 0; i < n; i++) x = __shfl_xor_sync(all_lanes, x, 1);
}
template <class Action>
double nanoseconds(Action action) {
    const auto start = std::chrono::steady_clock::now();
    action();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start)
        .count();
}

}  // namespace

TEST_CASE("simulator: what threads, barriers, shuffles cost", "[.cost]") {
    for (const int threads : {32, 256, 1024}) {
        const double runs = 256 * 1024;
        const int n = static_cast<int>(runs / threads);
        launch(barriers, 1, threads, 0, 1);
        const double barrier = nanoseconds([&] { launch(barriers, 1, threads, 0, n); });
        const double shuffle = nanoseconds([&] { launch(exchanges, 1, threads, 0, n); });
        const double thread = nanoseconds([&] { launch(barriers, n, threads, 0, 0); });
        std::printf(
            "blocks of %4d: %4.0f ns a thread and barrier, %4.0f a shuffle, %4.0f a thread\n",
            threads, barrier / runs, shuffle / runs, thread / runs);
    }
}
