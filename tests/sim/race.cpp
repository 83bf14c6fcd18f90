// The simulator's race mode, to be linked with -fsanitize=thread: ./race NAME runs one kernel. Of
// those named in `clean` ThreadSanitizer reports nothing, of those in `planted` the race.
#include <cstdio>
#include <cstring>

#include "cuda.h"
#include "shared.h"

using namespace peri;

namespace {

template <bool barrier>
__global__ void reversed(float* y, const float* x) {
    DYNAMIC_SHARED(float, memory);
    const unsigned i = threadIdx.x, block = blockIdx.x * blockDim.x;
    memory[i] = x[block + i];
    if (barrier) __syncthreads();
    y[block + i] = memory[blockDim.x - 1 - i];
}

// as before, in a loop that needs a second barrier before shared memory is written again
template <bool barrier>
__global__ void reversed_twice(float* y, const float* x) {
    DYNAMIC_SHARED(float, memory);
    const unsigned i = threadIdx.x;
    float value = x[i];
    for (int n = 0; n < 2; n++) {
        memory[i] = value;
        __syncthreads();
        value = memory[blockDim.x - 1 - i];
        if (barrier) __syncthreads();
    }
    y[i] = value;
}

// lanes exchange by shared memory, ordered by a warp operation
template <bool ordered>
__global__ void rotated(float* y, const float* x) {
    DYNAMIC_SHARED(float, memory);
    const unsigned i = threadIdx.x;
    memory[i] = x[i];
    if (ordered) __syncwarp();
    y[i] = memory[i / 32 * 32 + (i + 1) % 32];
}

__global__ void warp_sums(float* y, const float* x) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = x[i];
    for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(all_lanes, sum, bits);
    y[i] = sum;
}

// every block adds to the same number
template <bool atomic>
__global__ void total(float* y, const float* x) {
    if (threadIdx.x != 0) return;
    if (atomic)
        atomicAdd(y, x[blockIdx.x]);
    else
        *y += x[blockIdx.x];
}

struct Case {
    const char* name;
    void (*kernel)(float*, const float*);
    int blocks;
};
const Case clean[] = {{"barrier", reversed<true>, 3},
                      {"twice", reversed_twice<true>, 1},
                      {"syncwarp", rotated<true>, 1},
                      {"warp-sum", warp_sums, 3},
                      {"atomic", total<true>, 3}};
const Case planted[] = {{"no-barrier", reversed<false>, 1},
                        {"no-second-barrier", reversed_twice<false>, 1},
                        {"no-syncwarp", rotated<false>, 1},
                        {"no-atomic", total<false>, 3}};

void run(const Case& one) {
    const int threads = 64, n = one.blocks * threads;
    const DeviceArray<float> x(std::vector<float>(n, 1.0f)), y(std::vector<float>(n, 0.0f));
    const float *const x_read = x.data, *const y_read = y.data;
    launch(one.kernel, one.blocks, threads, threads * sizeof(float), y.data, x_read);
    // what one launch wrote the next may read
    launch(one.kernel, one.blocks, threads, threads * sizeof(float), x.data, y_read);
    std::printf("%s: %g\n", one.name, static_cast<double>(x.values()[0]));
}

}  // namespace

int main(int argc, char** argv) {
    const char* const name = argc > 1 ? argv[1] : "clean";
    int runs = 0;
    for (const Case& one : clean)
        if (std::strcmp(name, "clean") == 0 || std::strcmp(name, one.name) == 0) run(one), runs++;
    for (const Case& one : planted)
        if (std::strcmp(name, one.name) == 0) run(one), runs++;
    return runs == 0;
}
