// Asynchronous copies: what is there once a thread has waited, and what is found of those who do not.
#include "catch.h"
#include "mma.h"
#include "shared.h"

using namespace peri;

namespace {

constexpr int threads = 32, n = threads * 8;

// y = x by way of shared memory, and zeros for the threads from `valid` on
__global__ void copied(bf16* y, const bf16* x, int valid, bool waits) {
    DYNAMIC_SHARED(bf16, shared);
    const int mine = threadIdx.x * 8, other = (threads - 1 - threadIdx.x) * 8;
    copy_later(shared + mine, x + mine, static_cast<int>(threadIdx.x) < valid);
    end_group_of_copies();
    if (waits) wait_for_copies<0>();
    __syncthreads();
    for (int i = 0; i < 8; i++) y[other + i] = shared[other + i];
    __syncthreads();
    wait_for_copies<0>();
}

// Two groups: after a wait for all but one, y has the first, and NaN where the second will be.
__global__ void in_groups(bf16* y, const bf16* x) {
    DYNAMIC_SHARED(bf16, shared);
    const int mine = threadIdx.x * 8;
    for (int group = 0; group < 2; group++) {
        copy_later(shared + group * n + mine, x + mine, true);
        end_group_of_copies();
    }
    wait_for_copies<1>();
    for (int group = 0; group < 2; group++)
        for (int i = 0; i < 8; i++) y[group * n + mine + i] = shared[group * n + mine + i];
    wait_for_copies<0>();
    for (int i = 0; i < 8; i++) y[2 * n + mine + i] = shared[n + mine + i];
}

// A group that was never ended is not waited for.
__global__ void forgotten(const bf16* x, bool ended, int shift) {
    DYNAMIC_SHARED(bf16, shared);
    copy_later(shared + threadIdx.x * 8 + shift, x, true);
    if (ended) end_group_of_copies();
    if (!ended) wait_for_copies<0>();
}

std::vector<bf16> numbers() {
    const std::vector<float> x = random_numbers(n, 1);
    return {x.begin(), x.end()};
}

}  // namespace

TEST_CASE("simulator: asynchronous copies arrive at the wait, not before", "[sim]") {
    const std::vector<bf16> x = numbers();
    const DeviceArray<bf16> there(x), y(n), three(3 * n);
    launch(copied, 1, threads, n * sizeof(bf16), y.data, there.data, 20, true);
    for (int i = 0; i < n; i++) CHECK(float(y.values()[i]) == (i < 20 * 8 ? float(x[i]) : 0));

    launch(copied, 1, threads, n * sizeof(bf16), y.data, there.data, 20, false);
    for (const bf16 value : y.values()) CHECK(std::isnan(float(value)));

    launch(in_groups, 1, threads, 2 * n * sizeof(bf16), three.data, there.data);
    const std::vector<bf16> values = three.values();
    for (int i = 0; i < n; i++) {
        CHECK(float(values[i]) == float(x[i]));
        CHECK(std::isnan(float(values[n + i])));
        CHECK(float(values[2 * n + i]) == float(x[i]));
    }
}

TEST_CASE("simulator: copies that nobody waits for are found", "[sim]") {
    const DeviceArray<bf16> x(numbers());
    const auto run = [&](bool ended, int shift) {
        return complaint(
            [&] { launch(forgotten, 1, threads, (n + 8) * sizeof(bf16), x.data, ended, shift); });
    };
    CHECK(run(true, 0).find("copies that it has not waited for") != std::string::npos);
    CHECK(run(false, 0).find("copies that it has not waited for") != std::string::npos);
    CHECK(run(true, 1).find("16-byte boundary") != std::string::npos);
    // and a kernel that is right still runs after all that
    const DeviceArray<bf16> y(n);
    launch(copied, 1, threads, n * sizeof(bf16), y.data, x.data, threads, true);
    CHECK(float(y.values()[9]) == float(x.values()[9]));
}
