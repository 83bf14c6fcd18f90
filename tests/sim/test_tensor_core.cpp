// Products of tiles on the simulator's tensor core, with the very functions of gpu/mma.h.
#include "catch.h"
#include "mma.h"
#include "shared.h"

using namespace peri;

namespace {

constexpr int N = 48, K = 32, pitch = 56;  // more than one tile each way, and a gap behind each row

template <class Narrow>
std::vector<Narrow> rounded(const std::vector<float>& x) {
    return {x.begin(), x.end()};
}

template <class Narrow>
__device__ void copy(Narrow* to, const Narrow* from, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) to[i] = from[i];
    __syncthreads();
}

__device__ void store(float* to, const Tile<16, N>& tile) {
    for (int n = 0; n < N; n += 8)
        for (int e = 0; e < 4; e++)
            to[row_of_entry(e) * N + n + column_of_entry(e)] = tile[0][n / 8][e];
}

// c = a b^T;   a (16,pitch), b (N,pitch), of which the first K columns count
template <class Narrow>
__global__ void product_transposed(float* c, const Narrow* a, const Narrow* b) {
    DYNAMIC_SHARED(Narrow, shared);
    copy(shared, a, 16 * pitch);
    copy(shared + 16 * pitch, b, N * pitch);
    Tile<16, N> tile = {};
    add_matmul_transposed<16, N, K>(tile, shared, shared + 16 * pitch, pitch);
    store(c, tile);
}

// c = (a a'^T) b with the first result rounded;   a (16,pitch), a' (K,pitch), b (K,pitch)
template <class Narrow>
__global__ void product_of_product(float* c, const Narrow* a, const Narrow* a2, const Narrow* b) {
    DYNAMIC_SHARED(Narrow, shared);
    Narrow *const second = shared + 16 * pitch, *const third = second + K * pitch;
    copy(shared, a, 16 * pitch);
    copy(second, a2, K * pitch);
    copy(third, b, K * pitch);
    Tile<16, K> first = {};
    add_matmul_transposed<16, K, K>(first, shared, second, pitch);
    Tile<16, N> tile = {};
    add_matmul<16, N, K>(tile, first, third, pitch);
    store(c, tile);
}

// pairs of x, as registers hold them
template <class Narrow>
__global__ void pairs(unsigned* to, const float* x) {
    to[threadIdx.x] = pack<Narrow>(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
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
    if (threadIdx.x < 16) mma_16x8x16<bf16>(c, a, 0, 0);
}

// sum over k of x[row,k] y[column,k], in double
template <class Narrow>
double dot(const std::vector<Narrow>& x, int row, const std::vector<Narrow>& y, int column) {
    double sum = 0;
    for (int k = 0; k < K; k++) sum += double(x[row * pitch + k]) * y[column * pitch + k];
    return sum;
}

template <class Narrow>
std::vector<float> product_of(const std::vector<Narrow>& a, const std::vector<Narrow>& b) {
    const DeviceArray<float> c(16 * N);
    const DeviceArray<Narrow> a_there(a), b_there(b);
    launch(product_transposed<Narrow>, dim3(1), 32, (16 + N) * pitch * sizeof(Narrow), c.data,
           a_there.data, b_there.data);
    return c.values();
}

}  // namespace

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

// Products of two bf16, or two fp16, are exact in float; 32 sums of numbers of about 1 err by
// 32 * 2^-24 * 6.
TEMPLATE_TEST_CASE("simulator: tensor cores, a product and a product of its result", "[sim]", bf16,
                   fp16) {
    for (const uint64_t seed : {1, 2, 3}) {
        CAPTURE(seed);
        const auto a = rounded<TestType>(random_numbers(16 * pitch, seed));
        const auto b = rounded<TestType>(random_numbers(N * pitch, seed + 10));
        const std::vector<float> product = product_of(a, b);
        for (int r = 0; r < 16; r++)
            for (int n = 0; n < N; n++)
                REQUIRE(product[r * N + n] == peri::near(dot(a, r, b, n), 2e-5));

        // K columns of b^T are the first K rows of b: row k of the second factor
        const DeviceArray<float> c(16 * N);
        const DeviceArray<TestType> a_there(a), b_there(b);
        launch(product_of_product<TestType>, dim3(1), 32, (16 + 2 * K) * pitch * sizeof(TestType),
               c.data, a_there.data, b_there.data, b_there.data);
        const std::vector<float> twice = c.values();
        for (int r = 0; r < 16; r++)
            for (int n = 0; n < N; n++) {
                double expected = 0, size = 0;
                for (int k = 0; k < K; k++) {
                    const double first = dot(a, r, b, k), second = b[k * pitch + n];
                    expected += first * second;
                    size += std::abs(first * second);
                }
                // the first result is rounded, each term by up to unit / 2 of it; not all one way
                const double unit = std::is_same_v<TestType, bf16> ? 0x1p-7 : 0x1p-10;
                REQUIRE(twice[r * N + n] == peri::near(expected, unit / 4 * size));
            }
    }
}

TEST_CASE("simulator: results are rounded to nearest even, beyond a format to infinity", "[sim]") {
    struct Rounding {
        float x;
        unsigned as_bf16, as_fp16;
    };
    const Rounding roundings[] = {
        {-1, 0xbf80, 0xbc00},
        {1 + 0x1p-8f, 0x3f80, 0x3c04},
        {1 + 0x3p-8f, 0x3f82, 0x3c0c},
        {1 + 0x1p-11f, 0x3f80, 0x3c00},
        {1 + 0x3p-11f, 0x3f80, 0x3c02},
        {65504, 0x4780, 0x7bff},
        {0x1.ffdffep15f, 0x4780, 0x7bff},  // the last float below 65,520
        {65520, 0x4780, 0x7c00},
        {-65520, 0xc780, 0xfc00},
        {INFINITY, 0x7f80, 0x7c00},
        {0x1p-14f - 0x1p-25f, 0x3880, 0x0400},
        {0x1p-14f - 0x1p-24f, 0x3880, 0x03ff},
        {-0x1p-24f, 0xb380, 0x8001},
        {0x1p-25f, 0x3300, 0x0000},
        {0x3p-25f, 0x33c0, 0x0002},
        {0x1.8p-130f, 0x000c, 0x0000},
    };
    constexpr int count = std::size(roundings);
    std::vector<float> x;
    for (const Rounding& r : roundings) x.push_back(r.x);
    for (int i = count - 1; i >= 0; i--) x.push_back(roundings[i].x);  // the other way round
    const DeviceArray<float> there(x);
    const DeviceArray<unsigned> as_bf16(count), as_fp16(count);
    launch(pairs<bf16>, dim3(1), count, 0, as_bf16.data, there.data);
    launch(pairs<fp16>, dim3(1), count, 0, as_fp16.data, there.data);
    for (int i = 0; i < 2 * count; i++) {
        const Rounding& r = roundings[i < count ? i : 2 * count - 1 - i];
        CAPTURE(r.x);
        CHECK((as_bf16.values()[i / 2] >> 16 * (i % 2) & 0xffff) == r.as_bf16);
        CHECK((as_fp16.values()[i / 2] >> 16 * (i % 2) & 0xffff) == r.as_fp16);
    }
}

TEST_CASE("simulator: tensor cores multiply fp16's largest and smallest numbers", "[sim]") {
    std::vector<fp16> a(16 * pitch, 0.0f), b(N * pitch, 0.0f);
    a[0] = 65504;
    a[pitch] = 0x1p-24f;
    a[2 * pitch] = -INFINITY;
    a[3 * pitch] = 0x1p-14f - 0x1p-24f;
    b[0] = 65504;
    b[pitch] = 0x1p-24f;
    const std::vector<float> c = product_of(a, b);
    CHECK(c[0] == 65504.0f * 65504.0f);
    CHECK(c[1] == 65504 * 0x1p-24f);
    CHECK(c[N + 1] == 0x1p-48f);
    CHECK(c[2 * N] == -INFINITY);
    CHECK(std::isnan(c[2 * N + 2]));  // infinity times 0
    CHECK(c[3 * N + 1] == 0x1p-38f - 0x1p-48f);
    CHECK(c[4 * N] == 0);
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
    const DeviceArray<bf16> x(rounded<bf16>(random_numbers(32 * 16, 1)));
    const std::string unaligned =
        complaint([&] { launch(misaligned, dim3(1), 32, 32 * 16 * sizeof(bf16), x.data); });
    CHECK(unaligned.find("16-byte boundary") != std::string::npos);
    CHECK(unaligned.find("thread (5,0,0)") != std::string::npos);
    CHECK(unaligned.find("test_tensor_core.cpp") != std::string::npos);
    const std::string missing = complaint([] { launch(half_a_warp, dim3(1), 32, 0); });
    CHECK(missing.find("mma_16x8x16") != std::string::npos);
}
