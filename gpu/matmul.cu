#include "matmul.h"

#include <cublasLt.h>

#include <map>
#include <tuple>
#include <type_traits>

#include "cuda.h"
#include "device.h"

namespace peri {

namespace {

#define CUBLAS_CHECK(call)                                                                  \
    do {                                                                                    \
        const cublasStatus_t cublas_status = (call);                                        \
        if (cublas_status != CUBLAS_STATUS_SUCCESS)                                         \
            cuda_failed(#call, __FILE__, __LINE__, cublasLtGetStatusString(cublas_status)); \
    } while (0)

cublasLtHandle_t handle() {
    static const cublasLtHandle_t made = [] {
        cublasLtHandle_t h;
        CUBLAS_CHECK(cublasLtCreate(&h));
        return h;
    }();
    return made;
}

template <class Real>
constexpr cudaDataType_t type_of = sizeof(Real) == 4 ? CUDA_R_32F : CUDA_R_16BF;

// The largest power of two, up to 16, that divides the address.
unsigned alignment(const void* address) {
    const size_t bits = reinterpret_cast<size_t>(address) | 16;
    return static_cast<unsigned>(bits & -bits);
}

// What the choice of an algorithm depends on. cuBLASLt's matrices are column-major, in which a
// row-major c = op(a) op(b) reads c^T = op(b)^T op(a)^T: b is its first operand, a its second.
struct Shape {
    cublasComputeType_t compute;
    cudaDataType_t in, out;
    Op op_a, op_b;
    int M, N, K;
    bool add;
    Pitch pitch;
    unsigned alignment_a, alignment_b, alignment_c;

    auto key() const {
        return std::tie(compute, in, out, op_a, op_b, M, N, K, add, pitch.a, pitch.c, alignment_a,
                        alignment_b, alignment_c);
    }
    bool operator<(const Shape& other) const { return key() < other.key(); }
};

struct Ready {
    cublasLtMatmulDesc_t matmul;
    cublasLtMatrixLayout_t first, second, result;
    cublasLtMatmulAlgo_t algorithm;
};

cublasLtMatrixLayout_t layout(cudaDataType_t type, int rows, int columns, int pitch = 0) {
    cublasLtMatrixLayout_t made;
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&made, type, rows, columns, pitch ? pitch : rows));
    return made;
}

cublasLtMatmulAlgo_t choose(const Ready& ready, const Shape& s) {
    cublasLtMatmulPreference_t preference;
    CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) {
        CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, what, &value, sizeof value));
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, matmul_scratch<float>());
    // parts of a sum are added up as they are summed, in float: rounded to C once
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        uint32_t(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, s.alignment_b);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, s.alignment_a);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, s.alignment_c);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, s.alignment_c);
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(handle(), ready.matmul, ready.first, ready.second,
                                                ready.result, ready.result, preference, 1, &best,
                                                &found));
    if (!found) cuda_failed("cublasLtMatmulAlgoGetHeuristic", __FILE__, __LINE__, "no algorithm");
    CUBLAS_CHECK(cublasLtMatmulPreferenceDestroy(preference));
    return best.algo;
}

// Made once a shape, and kept.
const Ready& prepare(const Shape& s) {
    static std::map<Shape, Ready> all;
    const auto [entry, is_new] = all.try_emplace(s);
    Ready& ready = entry->second;
    if (!is_new) return ready;
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&ready.matmul, s.compute, CUDA_R_32F));
    const auto transpose = [&](cublasLtMatmulDescAttributes_t what, Op op) {
        const cublasOperation_t value = op == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T;
        CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(ready.matmul, what, &value, sizeof value));
    };
    transpose(CUBLASLT_MATMUL_DESC_TRANSA, s.op_b);
    transpose(CUBLASLT_MATMUL_DESC_TRANSB, s.op_a);
    ready.first = s.op_b == Op::none ? layout(s.in, s.N, s.K) : layout(s.in, s.K, s.N);
    ready.second =
        s.op_a == Op::none ? layout(s.in, s.K, s.M, s.pitch.a) : layout(s.in, s.M, s.K, s.pitch.a);
    ready.result = layout(s.out, s.N, s.M, s.pitch.c);
    ready.algorithm = choose(ready, s);
    return ready;
}

}  // namespace

template <class C, class Real>
void matmul(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K, bool add,
            void* scratch, Pitch pitch) {
    const bool tf32 = std::is_same_v<Real, float> && get_tf32();
    const Ready& ready = prepare({tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                  type_of<Real>, type_of<C>, op_a, op_b, M, N, K, add, pitch,
                                  alignment(a), alignment(b), alignment(c)});
    const float one = 1, beta = add ? 1 : 0;
    CUBLAS_CHECK(cublasLtMatmul(handle(), ready.matmul, &one, b, ready.first, a, ready.second,
                                &beta, c, ready.result, c, ready.result, &ready.algorithm, scratch,
                                matmul_scratch<Real>(), stream()));
}

#define INSTANTIATE(C, Real) \
    template void matmul(C*, const Real*, Op, const Real*, Op, int, int, int, bool, void*, Pitch);
INSTANTIATE(float, float)
INSTANTIATE(bf16, bf16)
INSTANTIATE(float, bf16)
#undef INSTANTIATE

}  // namespace peri
