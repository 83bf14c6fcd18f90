// The simulator's cuBLASLt: its products against plain loops, and each thing it checks broken once.
#include <cublasLt.h>

#include "catch.h"
#include "cuda.h"
#include "real.h"
#include "shared.h"

using namespace peri;

namespace {

struct Product {
    int m, n, k;
    bool transpose_a = false, transpose_b = false;
    float alpha = 1, beta = 0;
    cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
    int gap = 0;  // rows that leading dimensions have beyond the matrix
    int algorithm = 0;
    bool in_parts = false;  // of which each may be rounded to D's type
};

const uint32_t in_float = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

template <class T>
constexpr cudaDataType_t type_of = std::is_same_v<T, bf16>   ? CUDA_R_16BF
                                   : std::is_same_v<T, fp16> ? CUDA_R_16F
                                                             : CUDA_R_32F;

// D by cublasLtMatmul
template <class In, class Out>
std::vector<Out> multiplied(const Product& p, const std::vector<In>& a, const std::vector<In>& b,
                            const std::vector<Out>& c) {
    const cudaDataType_t in = type_of<In>, out = type_of<Out>;
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t la, lb, ld;
    cublasLtMatmulPreference_t preference;
    REQUIRE(cublasLtCreate(&handle) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cublasLtMatmulDescCreate(&product, p.compute, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
    const cublasOperation_t ta = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t tb = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta);
    cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb);
    const int ar = ta ? p.k : p.m, ac = ta ? p.m : p.k, br = tb ? p.n : p.k, bc = tb ? p.k : p.n;
    cublasLtMatrixLayoutCreate(&la, in, ar, ac, ar + p.gap);
    cublasLtMatrixLayoutCreate(&lb, in, br, bc, br + p.gap);
    cublasLtMatrixLayoutCreate(&ld, out, p.m, p.n, p.m + p.gap);
    cublasLtMatmulPreferenceCreate(&preference);
    const size_t most = 8192;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &most, sizeof most);
    if (!p.in_parts)
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                             &in_float, sizeof in_float);
    cublasLtMatmulHeuristicResult_t results[4];
    int found = 0;
    cublasLtMatmulAlgoGetHeuristic(handle, product, la, lb, ld, ld, preference, 4, results, &found);
    REQUIRE(found == (p.in_parts ? 3 : 2));
    const DeviceArray<In> on_a(a), on_b(b);
    const DeviceArray<Out> on_d(c);
    const DeviceArray<char> workspace(most);
    CHECK(cublasLtMatmul(handle, product, &p.alpha, on_a.data, la, on_b.data, lb, &p.beta,
                         on_d.data, ld, on_d.data, ld, &results[p.algorithm].algo, workspace.data,
                         most, nullptr) == CUBLAS_STATUS_SUCCESS);
    cublasLtMatmulPreferenceDestroy(preference);
    for (const cublasLtMatrixLayout_t layout : {la, lb, ld}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(product);
    cublasLtDestroy(handle);
    return on_d.values();
}

// The largest error beside the same product in double, relative to the sum of its terms' sizes.
template <class In, class Out>
double product_error(const Product& p) {
    const int ar = p.transpose_a ? p.k : p.m, ac = p.transpose_a ? p.m : p.k;
    const int br = p.transpose_b ? p.n : p.k, bc = p.transpose_b ? p.k : p.n;
    const int la = ar + p.gap, lb = br + p.gap, ld = p.m + p.gap;
    const auto narrowed = []<class To>(To, const std::vector<float>& x) {
        return std::vector<To>(x.begin(), x.end());
    };
    const std::vector<In> a = narrowed(In(), random_numbers(size_t(la) * ac, 5));
    const std::vector<In> b = narrowed(In(), random_numbers(size_t(lb) * bc, 6));
    std::vector<Out> c = narrowed(Out(), random_numbers(size_t(ld) * p.n, 7));
    if (p.beta == 0) std::fill(c.begin(), c.end(), Out(NAN));
    const std::vector<Out> d = multiplied(p, a, b, c);
    double worst = 0;
    for (int j = 0; j < p.n; j++)
        for (int i = 0; i < p.m; i++) {
            double sum = 0, size = 0;
            for (int l = 0; l < p.k; l++) {
                const double x = double(a[p.transpose_a ? l + i * la : i + l * la]) *
                                 double(b[p.transpose_b ? j + l * lb : l + j * lb]);
                sum += x;
                size += std::abs(x);
            }
            double expected = p.alpha * sum;
            size *= p.alpha;
            if (p.beta != 0) {
                expected += p.beta * double(c[i + j * ld]);
                size += std::abs(p.beta * double(c[i + j * ld]));
            }
            const double error = std::abs(double(d[i + j * ld]) - expected) / size;
            worst = std::isnan(error) ? INFINITY : std::max(worst, error);
        }
    return worst;
}

}  // namespace

TEST_CASE("simulator: cuBLASLt's products, each transpose, type and scale", "[sim]") {
    const double sums = peri::roundings<float>(21 + 3);  // of 21 products, scaled and added
    for (const bool ta : {false, true})
        for (const bool tb : {false, true})
            for (const float beta : {0.0f, 1.0f, 0.5f})
                for (const int gap : {0, 3})
                    for (const int algorithm : {0, 1}) {
                        const Product p{13,   7,
                                        21,   ta,
                                        tb,   beta == 0.5f ? 2.0f : 1.0f,
                                        beta, CUBLAS_COMPUTE_32F,
                                        gap,  algorithm};
                        CAPTURE(ta, tb, beta, gap, algorithm);
                        CHECK(product_error<float, float>(p) == peri::near(0, sums));
                        CHECK(product_error<bf16, float>(p) == peri::near(0, sums));
                        CHECK(product_error<bf16, bf16>(p) ==
                              peri::near(0, peri::of_format(0x1p-8) +
                                                sums));  // half a unit in the last place
                        CHECK(product_error<fp16, float>(p) == peri::near(0, sums));
                        CHECK(product_error<fp16, fp16>(p) ==
                              peri::near(0, peri::of_format(0x1p-11) + sums));
                    }
    const Product tf32{13, 7, 21, true, false, 1, 0, CUBLAS_COMPUTE_32F_FAST_TF32};
    CHECK(product_error<float, float>(tf32) ==
          peri::near(0, 0x1p-10));  // both inputs by half a unit
    CHECK(product_error<float, float>(tf32) > 0x1p-15);
    CHECK(product_error<float, float>({1, 1, 1}) == peri::near(0, sums));
}

TEMPLATE_TEST_CASE("simulator: cuBLASLt's first choice rounds half a sum, unless that is forbidden",
                   "[sim]", bf16, fp16) {
    Product p{13, 7, 21};
    const auto product_of = [&] {
        const std::vector<float> a = random_numbers(13 * 21, 5), b = random_numbers(21 * 7, 6);
        return multiplied<TestType, TestType>(p, {a.begin(), a.end()}, {b.begin(), b.end()},
                                              std::vector<TestType>(13 * 7));
    };
    const std::vector<TestType> rounded_once = product_of();
    p.in_parts = true;
    CHECK(!std::ranges::equal(product_of(), rounded_once));
}

TEST_CASE("simulator: cuBLASLt's products in fp16 end at 65,504 and at 2^-24", "[sim]") {
    const auto product_of = []<class Out>(float a, float b, Out) {
        return float(multiplied<fp16, Out>({1, 1, 1}, {a}, {b}, {Out(NAN)})[0]);
    };
    const auto rounded = [&](float a, float b) { return product_of(a, b, fp16()); };
    CHECK(rounded(0x1.04p0f, 0x1.04p0f) == 0x1.08p0f);         // exactly 0x1.0810p0
    CHECK(rounded(0x1.04p0f, 0x1.0cp0f) == 0x1.104p0f);        // 0x1.1030p0
    CHECK(rounded(1 + 0x1p-10f, 1.5f) == 0x1.8p0f + 0x1p-9f);  // halfway: to even
    CHECK(rounded(1 + 0x3p-10f, 1.5f) == 0x1.8p0f + 0x1p-8f);  // halfway: to even
    CHECK(rounded(0x1.ffcp7f, 0x1p8f) == 65504);               // the largest
    CHECK(rounded(256, 256) == INFINITY);
    CHECK(rounded(256, -256) == -INFINITY);
    CHECK(product_of(256, 256, 0.0f) == 65536);
    CHECK(rounded(0x1p-14f, 0x1p-10f) == 0x1p-24f);
    CHECK(rounded(0x1p-14f, 0x1p-11f) == 0);  // halfway: to even
    CHECK(rounded(0x1.8p-14f, 0x1p-10f) == 0x1p-23f);
    CHECK(product_of(0x1p-24f, 0x1p-24f, 0.0f) == 0x1p-48f);
}

TEST_CASE("simulator: cuBLASLt's results have the inputs' type or float", "[sim]") {
    const cudaDataType_t types[] = {CUDA_R_32F, CUDA_R_16BF, CUDA_R_16F};
    for (const cudaDataType_t in : types)
        for (const cudaDataType_t other : types)
            for (const cudaDataType_t out : types) {
                CAPTURE(in, other, out);
                SimulatedProduct product{CUBLAS_COMPUTE_32F, CUBLAS_OP_N, CUBLAS_OP_N};
                SimulatedLayout a{in, 4, 4, 4}, b{other, 4, 4, 4}, d{out, 4, 4, 4};
                SimulatedPreference preference{0, {16, 16, 16, 16}, in_float};
                cublasLtMatmulHeuristicResult_t found[1];
                int count = 0;
                const bool supported = in == other && (out == in || out == CUDA_R_32F);
                CHECK((cublasLtMatmulAlgoGetHeuristic(nullptr, &product, &a, &b, &d, &d,
                                                      &preference, 1, found, &count) ==
                       CUBLAS_STATUS_SUCCESS) == supported);
                CHECK(count == supported);
            }
}

TEST_CASE("simulator: products check sizes, memory and overlap", "[sim]") {
    const DeviceArray<float> x(std::vector<float>(12, 1.0f)), y(std::vector<float>(12, 1.0f)),
        z(16);
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, d, narrow;
    cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatrixLayoutCreate(&a, CUDA_R_32F, 4, 3, 4);
    cublasLtMatrixLayoutCreate(&b, CUDA_R_32F, 3, 4, 3);
    cublasLtMatrixLayoutCreate(&d, CUDA_R_32F, 4, 4, 4);
    cublasLtMatrixLayoutCreate(&narrow, CUDA_R_32F, 4, 4, 3);
    const float one = 1, zero = 0;
    const auto wrong = [&](float* left, auto left_layout, float* right, float* result,
                           auto layout) {
        return complaint([&] {
            cublasLtMatmul(nullptr, product, &one, left, left_layout, right, b, &zero, result,
                           layout, result, layout, nullptr, nullptr, 0, nullptr);
        });
    };
    float on_host[16];
    CHECK(wrong(x.data, a, y.data, z.data, d) == "");
    CHECK_THAT(wrong(x.data, b, y.data, z.data, d), contains("matrix A of a product is 3 x 4"));
    CHECK_THAT(wrong(x.data, a, y.data, z.data, narrow), contains("leading dimension 3"));
    CHECK_THAT(wrong(x.data + 1, a, y.data, z.data, d), contains("only 44 are left"));
    CHECK_THAT(wrong(x.data, a, y.data, on_host, d), contains("not in device memory"));
    // an algorithm is chosen for alignments, 256 bytes if none are said
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found[2];
    int count = 0;
    cublasLtMatmulPreferenceCreate(&preference);
    const uint32_t eight = 8;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                                         &eight, sizeof eight);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                         &in_float, sizeof in_float);
    cublasLtMatmulAlgoGetHeuristic(nullptr, product, a, b, d, d, preference, 2, found, &count);
    CHECK(count == 1);  // the other one wants a workspace
    cublasLtMatmulPreferenceDestroy(preference);
    const DeviceArray<float> large(std::vector<float>(100, 1.0f));
    const auto aligned = [&](float* left, float* result) {
        return complaint([&] {
            cublasLtMatmul(nullptr, product, &one, left, a, y.data, b, &zero, result, d, result, d,
                           &found[0].algo, nullptr, 0, nullptr);
        });
    };
    CHECK(aligned(large.data + 2, z.data) == "");
    CHECK_THAT(aligned(large.data + 1, z.data), contains("matrix A of a product is not aligned"));
    CHECK_THAT(aligned(x.data, large.data + 4), contains("not aligned to 256 bytes"));
    CHECK_THAT(wrong(z.data + 4, a, y.data, z.data, d), contains("overlaps"));
    for (const cublasLtMatrixLayout_t layout : {a, b, d, narrow})
        cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(product);
}
