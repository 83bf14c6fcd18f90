#include "matmul.h"

#include <cublasLt.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <sstream>
#include <tuple>
#include <type_traits>

#include "check.h"
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
constexpr cudaDataType_t type_of = CUDA_R_32F;
template <>
constexpr cudaDataType_t type_of<bf16> = CUDA_R_16BF;
template <>
constexpr cudaDataType_t type_of<fp16> = CUDA_R_16F;

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

// The algorithms for a product, the likeliest to be fast first.
struct Candidates {
    cublasLtMatmulHeuristicResult_t list[8];
    int count = 0;
};

Candidates candidates(const Ready& ready, const Shape& s) {
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
    Candidates found;
    CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(handle(), ready.matmul, ready.first, ready.second,
                                                ready.result, ready.result, preference,
                                                std::size(found.list), found.list, &found.count));
    if (!found.count)
        cuda_failed("cublasLtMatmulAlgoGetHeuristic", __FILE__, __LINE__, "no algorithm");
    CUBLAS_CHECK(cublasLtMatmulPreferenceDestroy(preference));
    return found;
}

std::map<Shape, Ready> ready_shapes;
std::map<Shape, int> choices;  // which candidate, where it is not the first

// Made once a shape, and kept.
Ready& prepare(const Shape& s) {
    const auto [entry, is_new] = ready_shapes.try_emplace(s);
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
    const Candidates found = candidates(ready, s);
    const auto chosen = choices.find(s);
    const int i = chosen == choices.end() ? 0 : std::min(chosen->second, found.count - 1);
    ready.algorithm = found.list[i].algo;
    return ready;
}

template <class C, class Real>
Shape shape_of(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K, bool add,
               Pitch pitch) {
    const bool tf32 = std::is_same_v<Real, float> && get_tf32();
    return {tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
            type_of<Real>,
            type_of<C>,
            op_a,
            op_b,
            M,
            N,
            K,
            add,
            pitch,
            alignment(a),
            alignment(b),
            alignment(c)};
}

void run(const Ready& ready, void* c, const void* a, const void* b, bool add, void* scratch) {
    const float one = 1, beta = add ? 1 : 0;
    CUBLAS_CHECK(cublasLtMatmul(handle(), ready.matmul, &one, b, ready.first, a, ready.second,
                                &beta, c, ready.result, c, ready.result, &ready.algorithm, scratch,
                                matmul_scratch<float>(), stream()));
}

}  // namespace

template <class C, class Real>
void matmul(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K, bool add,
            void* scratch, Pitch pitch) {
    run(prepare(shape_of(c, a, op_a, b, op_b, M, N, K, add, pitch)), c, a, b, add, scratch);
}

template <class C, class Real>
void tune_in(const Arena<Real>& a, Op op_a, const Arena<Real>& b, Op op_b, const Arena<Real>& c,
             int M, int N, int K, bool add, Pitch pitch) {
    void* const scratch = workspace<Real>(matmul_scratch<Real>());
    const Shape s = shape_of(c.template at<C>(), a.at(), op_a, b.at(), op_b, M, N, K, add, pitch);
    if (choices.contains(s)) return;
    Ready& ready = prepare(s);
    const Candidates found = candidates(ready, s);
    constexpr int calls = 8;  // in a row, so that launching and waiting count for little
    int fastest = 0;
    double least = 1e300;
    for (int i = 0; i < found.count; i++) {
        ready.algorithm = found.list[i].algo;
        double seconds = 1e300;
        for (int repeat = 0; repeat < 4; repeat++) {  // the first one loads the kernel
            const auto start = std::chrono::steady_clock::now();
            for (int call = 0; call < calls; call++)
                run(ready, c.at(), a.at(), b.at(), add, scratch);
            CUDA_CHECK(cudaStreamSynchronize(stream()));
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
            seconds = std::min(seconds, took.count());
        }
        if (!(seconds < 0.98 * least)) continue;
        fastest = i;
        least = seconds;
    }
    ready.algorithm = found.list[fastest].algo;
    choices[s] = fastest;
}

template <class C, class Real>
void tune_matmul(Op op_a, Op op_b, int M, int N, int K, bool add, Pitch pitch) {
    const int rows = op_a == Op::none ? M : K, columns = op_a == Op::none ? K : M;
    try {
        const Arena<Real> a(size_t(rows) * (pitch.a ? pitch.a : columns) * sizeof(Real));
        const Arena<Real> b(size_t(K) * N * sizeof(Real));
        const Arena<Real> c(size_t(M) * (pitch.c ? pitch.c : N) * sizeof(C));
        tune_in<C>(a, op_a, b, op_b, c, M, N, K, add, pitch);
    } catch (const OutOfMemory&) {  // the first candidate will do
    }
}

size_t matmul_version() { return cublasLtGetVersion(); }

// Fifteen numbers: the shape, and which candidate.
std::string backend_choices() {
    std::string lines;
    for (const auto& [s, choice] : choices) {
        for (const unsigned n : {unsigned(s.compute), unsigned(s.in), unsigned(s.out),
                                 unsigned(s.op_a), unsigned(s.op_b), unsigned(s.M), unsigned(s.N),
                                 unsigned(s.K), unsigned(s.add), unsigned(s.pitch.a),
                                 unsigned(s.pitch.c), s.alignment_a, s.alignment_b, s.alignment_c})
            lines += std::to_string(n) + ' ';
        lines += std::to_string(choice) + '\n';
    }
    return lines;
}

std::string set_backend_choices(const std::string& lines) {
    std::map<Shape, int> read;
    std::istringstream all(lines);
    for (std::string line; std::getline(all, line);) {
        int n[15];
        std::istringstream numbers(line);
        for (int& number : n) numbers >> number;
        if (numbers.fail() || n[14] < 0) return line;
        const Shape s{cublasComputeType_t(n[0]),
                      cudaDataType_t(n[1]),
                      cudaDataType_t(n[2]),
                      Op(n[3]),
                      Op(n[4]),
                      n[5],
                      n[6],
                      n[7],
                      n[8] != 0,
                      {.a = n[9], .c = n[10]},
                      unsigned(n[11]),
                      unsigned(n[12]),
                      unsigned(n[13])};
        read[s] = n[14];
    }
    choices = read;
    ready_shapes.clear();
    return "";
}

#define INSTANTIATE(C, Real)                                                                       \
    template void matmul(C*, const Real*, Op, const Real*, Op, int, int, int, bool, void*, Pitch); \
    template void tune_matmul<C, Real>(Op, Op, int, int, int, bool, Pitch);
INSTANTIATE(float, float)
INSTANTIATE(bf16, bf16)
INSTANTIATE(float, bf16)
INSTANTIATE(fp16, fp16)
INSTANTIATE(float, fp16)
#undef INSTANTIATE

}  // namespace peri
