// Products of tiles on the simulator's tensor core, with the very functions of gpu/mma.h.
#include "catch.h"
#include "mma.h"
#include "shared.h"

using namespace peri;

namespace {

constexpr int N = 48, K = 32, pitch = 56;  // more than one tile each way, and a gap behind each row

std::vector<bf16> rounded(const std::vector<float>& x) { return {x.begin(), x.end()}; }

__device__ void copy(bf16* to, const bf16* from, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) to[i] = from[i];
    __syncthreads();
}

__device__ void store(float* to, const Tile<16, N>& tile) {
    for (int n = 0; n < N; n += 8)
        for (int e = 0; e < 4; e++)
            to[row_of_entry(e) * N + n + column_of_entry(e)] = tile[0][n / 8][e];
}

// c = a b^T;   a (16,pitch), b (N,pitch), of which the first K columns count
__global__ void product_transposed(float* c, const bf16* a, const bf16* b) {
    DYNAMIC_SHARED(bf16, shared);
    copy(shared, a, 16 * pitch);
    copy(shared + 16 * pitch, b, N * pitch);
    Tile<16, N> tile = {};
    add_matmul_transposed<16, N, K>(tile, shared, shared + 16 * pitch, pitch);
    store(c, tile);
}

// c = (a a'^T) b with the first result rounded;   a (16,pitch), a' (K,pitch), b (K,pitch)
__global__ void product_of_product(float* c, const bf16* a, const bf16* a2, const bf16* b) {
    DYNAMIC_SHARED(bf16, shared);
    bf16 *const second = shared + 16 * pitch, *const third = second + K * pitch;
    copy(shared, a, 16 * pitch);
    copy(second, a2, K * pitch);
    copy(third, b, K * pitch);
    Tile<16, K> first = {};
    add_matmul_transposed<16, K, K>(first, shared, second, pitch);
    Tile<16, N> tile = {};
    add_matmul<16, N, K>(tile, first, third, pitch);
    store(c, tile);
}

// every row's largest entry and sum, by one lane of the four that hold it
__global__ void row_statistics(float* largest, float* sum, const float* x) {
    for (const int i : {0, 1}) {
        const int row = row_of_entry(2 * i), column = column_of_entry(0);
        const float pair[2] = {x[row * 8 + column], x[row * 8 + column + 1]};
        const float most = row_max(pair[0] > pair[1] ? pair[0] : pair[1]);
        const float total = row_sum(pair[0] + pair[1]);
        if (threadIdx.x % 4 != 1) continue;
        largest[row] = most;
        sum[row] = total;
    }
}

__global__ void misaligned(const bf16* x) {
    DYNAMIC_SHARED(bf16, shared);
    copy(shared, x, 32 * 16);
    unsigned r[4];
    load_matrices(r, shared + threadIdx.x * 8 + (threadIdx.x == 5 ? 1 : 0));
}

__global__ void half_a_warp() {
    float c[4] = {};
    const unsigned a[4] = {};
    if (threadIdx.x < 16) mma_16x8x16(c, a, 0, 0);
}

// sum over k of x[row,k] y[column,k], in double
double dot(const std::vector<bf16>& x, int row, const std::vector<bf16>& y, int column) {
    double sum = 0;
    for (int k = 0; k < K; k++) sum += double(x[row * pitch + k]) * y[column * pitch + k];
    return sum;
}

}  // namespace

// Products of two bf16 are exact in float; 32 sums of numbers of about 1 err by 32 * 2^-24 * 6.
TEST_CASE("sums that are cut off lose what lies below the largest term's last place", "[sim]") {
    const float small = 0x1p-24f;  // half of 1's last place
    CHECK(sim::truncated_sum(1, {small, small, small, small, small, small, small, small}) == 1);
    CHECK(sim::truncated_sum(1, {-small}) == 1);
    CHECK(sim::truncated_sum(1, {2 * small, 3 * small}) == 1 + 4 * small);
    CHECK(sim::truncated_sum(-1, {-3 * small}) == -1 - 2 * small);
    CHECK(sim::truncated_sum(0, {1, -1, small}) == 0);  // though what is left would be small
    CHECK(sim::truncated_sum(0, {0x1.fffffep0f, 0x1.fffffep0f, 0x1p-23f}) == 0x1.fffffep1f);
    CHECK(std::isnan(sim::truncated_sum(1, {NAN})));
    CHECK(sim::truncated_sum(1, {INFINITY}) == INFINITY);
}

TEST_CASE("simulator: tensor cores, a product and a product of its result", "[sim]") {
    for (const uint64_t seed : {1, 2, 3}) {
        CAPTURE(seed);
        const auto a = rounded(random_numbers(16 * pitch, seed));
        const auto b = rounded(random_numbers(N * pitch, seed + 10));
        DeviceArray<float> c(16 * N);
        const DeviceArray<bf16> a_there(a), b_there(b);
        launch(product_transposed, dim3(1), 32, (16 + N) * pitch * sizeof(bf16), c.data,
               a_there.data, b_there.data);
        const std::vector<float> product = c.values();
        for (int r = 0; r < 16; r++)
            for (int n = 0; n < N; n++)
                REQUIRE(product[r * N + n] == peri::near(dot(a, r, b, n), 2e-5));

        // K columns of b^T are the first K rows of b: row k of the second factor
        launch(product_of_product, dim3(1), 32, (16 + 2 * K) * pitch * sizeof(bf16), c.data,
               a_there.data, b_there.data, b_there.data);
        const std::vector<float> twice = c.values();
        for (int r = 0; r < 16; r++)
            for (int n = 0; n < N; n++) {
                double expected = 0, size = 0;
                for (int k = 0; k < K; k++) {
                    const double first = dot(a, r, b, k), second = b[k * pitch + n];
                    expected += first * second;
                    size += std::abs(first * second);
                }
                // the first result is rounded: half a unit of 2^-8 of each term, at worst
                REQUIRE(twice[r * N + n] == peri::near(expected, 0x1p-9 * size));
            }
    }
}

TEST_CASE("simulator: the largest and the sum of a tile's rows", "[sim]") {
    const std::vector<float> x = random_numbers(16 * 8, 4);
    const DeviceArray<float> there(x), largest(16), sum(16);
    launch(row_statistics, dim3(1), 32, 0, largest.data, sum.data, there.data);
    for (int r = 0; r < 16; r++) {
        float most = x[r * 8];
        double total = 0;
        for (int c = 0; c < 8; c++) {
            most = std::max(most, x[r * 8 + c]);
            total += x[r * 8 + c];
        }
        CHECK(largest.values()[r] == most);
        CHECK(sum.values()[r] == peri::near(total, 1e-5));
    }
}

TEST_CASE("simulator: tensor cores refuse what a GPU would not survive", "[sim]") {
    const DeviceArray<bf16> x(rounded(random_numbers(32 * 16, 1)));
    const std::string unaligned =
        complaint([&] { launch(misaligned, dim3(1), 32, 32 * 16 * sizeof(bf16), x.data); });
    CHECK(unaligned.find("16-byte boundary") != std::string::npos);
    CHECK(unaligned.find("thread (5,0,0)") != std::string::npos);
    CHECK(unaligned.find("test_tensor_core.cpp") != std::string::npos);
    const std::string missing = complaint([] { launch(half_a_warp, dim3(1), 32, 0); });
    CHECK(missing.find("mma_16x8x16") != std::string::npos);
}
