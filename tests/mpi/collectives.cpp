// What comm.h promises, of as many processes as mpirun starts: sums in the tree's order to the bit, pieces
// of any size, 0 too, NaN kept, and the same on every rank. Prints what is wrong; exit code 1 then.
// With a number, how long a step's collectives take for so many numbers.
#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "comm.h"
#include "device.h"
#include "random.h"
#include "tree.h"

using namespace peri;

namespace {

int failures = 0;

void expect(bool condition, const std::string& what) {
    if (condition) return;
    failures++;
    std::fprintf(stderr, "rank %d of %d: %s\n", comm::rank(), comm::size(), what.c_str());
}

// Pieces of 0 to `most` numbers, the same on every rank.
comm::Bounds pieces(uint64_t seed, int most) {
    Rng rng(seed, 1);
    comm::Bounds bounds = {0};
    for (int r = 0; r < comm::size(); r++)
        bounds.push_back(bounds.back() + rng.below(static_cast<uint64_t>(most) + 1));
    return bounds;
}

// What rank r holds: of many magnitudes, so that sums in another order have other bits; one NaN.
template <class A>
std::vector<A> numbers(uint64_t seed, int r, size_t n) {
    Rng rng(seed, 2, r);
    std::vector<A> result(n);
    for (A& x : result)
        x = static_cast<A>(std::ldexp(rng.uniform() - 0.5, static_cast<int>(rng.below(30))));
    if (r == 0 && n > 3) result[3] = std::numeric_limits<A>::quiet_NaN();
    return result;
}

template <class A>
bool same(A a, A b) {
    return std::isnan(a) ? std::isnan(b) : a == b;
}

template <class Real>
void check_reduce_scatter(uint64_t seed, int most) {
    using A = Accum<Real>;
    const comm::Bounds bounds = pieces(seed, most);
    const size_t n = bounds.back();
    std::vector<std::vector<A>> all;
    for (int r = 0; r < comm::size(); r++) all.push_back(numbers<A>(seed, r, n));
    std::vector<A> mine = all[comm::rank()];
    const std::vector<A> before = mine;
    const Arena<Real> device(n * sizeof(A));
    device_upload<Real>(device.template at<A>(), mine.data(), device.bytes());
    comm::reduce_scatter<Real>(device.template at<A>(), bounds);
    device_download<Real>(mine.data(), device.template at<A>(), device.bytes());
    add_in_tree(0, all.size(), [&](size_t i, size_t j) {
        for (size_t k = 0; k < n; k++) all[i][k] += all[j][k];
    });
    const std::string name = "reduce_scatter seed " + std::to_string(seed);
    for (size_t k = 0; k < n; k++) {
        const bool own = k >= bounds[comm::rank()] && k < bounds[comm::rank() + 1];
        expect(same(mine[k], own ? all[0][k] : before[k]), name + ": number " + std::to_string(k));
        if (failures > 5) return;
    }
}

template <class Real>
void check_all_gather(uint64_t seed, int most) {
    const comm::Bounds bounds = pieces(seed, most);
    std::vector<char> bytes(bounds.back(), -1), expected(bounds.back());
    for (int r = 0; r < comm::size(); r++)
        for (size_t i = bounds[r]; i < bounds[r + 1]; i++) {
            expected[i] = static_cast<char>(Rng(seed, 3, r).below(100) + i % 27);
            if (r == comm::rank()) bytes[i] = expected[i];
        }
    const Arena<Real> device(bytes.size());
    char* const memory = device.template at<char>();
    device_upload<Real>(memory, bytes.data(), bytes.size());
    const std::vector<char> gathered = comm::gather<Real>(memory + bounds[comm::rank()], bounds);
    expect(gathered == (comm::rank() == 0 ? expected : std::vector<char>()), "gather");
    comm::all_gather<Real>(memory, bounds);
    device_download<Real>(bytes.data(), memory, bytes.size());
    expect(bytes == expected, "all_gather");
}

void check_small() {
    const double third = 1.0 / 3 + comm::rank() * 1e10;
    const auto all = comm::exchange({third, -third});
    expect(static_cast<int>(all.size()) == comm::size(), "exchange: one from each");
    for (int r = 0; r < comm::size(); r++)
        expect(all[r] == std::vector<double>{1.0 / 3 + r * 1e10, -(1.0 / 3 + r * 1e10)},
               "exchange");
    std::vector<double> parts;
    for (int r = 0; r < comm::size(); r++) parts.push_back(1.0 / 3 + r * 1e10);
    add_in_tree(0, parts.size(), [&](size_t i, size_t j) { parts[i] += parts[j]; });
    expect(comm::sum(third) == parts[0], "sum");
    expect(comm::largest(comm::rank()) == comm::size() - 1, "largest");
    expect(comm::largest(-comm::rank()) == 0, "largest of negative numbers");
    expect(comm::from_first("rank " + std::to_string(comm::rank())) == "rank 0", "from_first");
    expect(comm::from_first("") == "", "from_first, of nothing");
}

// Milliseconds of what a step says for a model of n numbers in fp32: the best of five.
void time_step(size_t n) {
    const Arena<float> device(n * sizeof(float));
    comm::Bounds numbers, bytes;
    for (int r = 0; r <= comm::size(); r++) numbers.push_back(n * r / comm::size());
    for (const size_t number : numbers) bytes.push_back(number * sizeof(float));
    double best = 1e30;
    for (int i = 0; i < 5; i++) {
        comm::sum(0);  // all begin together
        const auto start = std::chrono::steady_clock::now();
        comm::reduce_scatter<float>(device.at<float>(), numbers);
        comm::all_gather<float>(device.at(), bytes);
        device_synchronize<float>();
        const std::chrono::duration<double, std::milli> took =
            std::chrono::steady_clock::now() - start;
        best = std::min(best, comm::largest(took.count()));
    }
    std::printf("%zu numbers, %d ranks: gradients and weights in %.1f ms\n", n, comm::size(), best);
}

}  // namespace

int main(int argc, char** argv) {
    comm::Session session;
    comm::set_patience(60);
    if (argc > 1) {
        time_step(std::stoull(argv[1]));
        return 0;
    }
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const int most = seed % 4 == 0 ? 0 : seed % 4 == 1 ? 1 : seed % 4 == 2 ? 1000 : 700'001;
        check_reduce_scatter<float>(seed, most);
        check_reduce_scatter<double>(seed, most);
        check_reduce_scatter<bf16>(seed, most);
        check_all_gather<float>(seed, most);
        check_all_gather<double>(seed, most);
        check_small();
    }
    const bool failed = comm::largest(failures) > 0;
    std::printf("collectives, %d ranks: %s\n", comm::size(), failed ? "FAILED" : "ok");
    return failed;
}
