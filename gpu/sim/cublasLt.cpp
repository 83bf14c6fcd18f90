// The simulator's matrix products, by plain loops.
#include <cublasLt.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "real.h"

using namespace peri;

namespace {

constexpr size_t workspace_of_1 = 4096;  // bytes algorithm 1 wants

// to the 10 bits of fraction of tf32, to nearest even
float rounded_to_tf32(float x) {
    if (!std::isfinite(x)) return x;
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    return std::bit_cast<float>((bits + 0x0fff + (bits >> 13 & 1)) & ~0x1fffu);
}

size_t bytes_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

float load(const void* data, cudaDataType_t type, size_t i) {
    if (type == CUDA_R_16BF) return static_cast<const bf16*>(data)[i];
    if (type == CUDA_R_16F) return static_cast<const fp16*>(data)[i];
    return static_cast<const float*>(data)[i];
}
float rounded(float x, cudaDataType_t type) {
    return type == CUDA_R_16BF ? float(bf16(x)) : type == CUDA_R_16F ? float(fp16(x)) : x;
}
void store(void* data, cudaDataType_t type, size_t i, float value) {
    if (type == CUDA_R_16BF)
        static_cast<bf16*>(data)[i] = value;
    else if (type == CUDA_R_16F)
        static_cast<fp16*>(data)[i] = value;
    else
        static_cast<float*>(data)[i] = value;
}

// Inputs of one type, and results of that or of float, which sums are kept in.
bool supported(const SimulatedLayout& a, const SimulatedLayout& b, const SimulatedLayout& c,
               const SimulatedLayout& d) {
    return a.type == b.type && c.type == d.type && (d.type == a.type || d.type == CUDA_R_32F);
}

// op(matrix) as float, its columns one after the other
std::vector<float> unpacked(const void* data, const SimulatedLayout& layout, bool transpose,
                            bool tf32) {
    const size_t rows = transpose ? layout.columns : layout.rows;
    std::vector<float> result(layout.rows * layout.columns);
    for (size_t j = 0; j < layout.columns; j++)
        for (size_t i = 0; i < layout.rows; i++) {
            const float value = load(data, layout.type, i + j * layout.leading);
            result[transpose ? j + i * rows : i + j * rows] = tf32 ? rounded_to_tf32(value) : value;
        }
    return result;
}

// The library checks this too, but only says "invalid value".
void check_matrix(const char* name, const void* data, const SimulatedLayout& layout, size_t rows,
                  size_t columns) {
    const std::string what = std::string("matrix ") + name + " of a product";
    if (layout.rows != rows || layout.columns != columns)
        sim::fail(what + " is " + std::to_string(layout.rows) + " x " +
                  std::to_string(layout.columns) + ", expected " + std::to_string(rows) + " x " +
                  std::to_string(columns));
    if (layout.leading < static_cast<int64_t>(layout.rows))
        sim::fail(what + " has leading dimension " + std::to_string(layout.leading) + ", but " +
                  std::to_string(layout.rows) + " rows");
    const size_t numbers = layout.leading * (layout.columns - 1) + layout.rows;
    if (data) sim::check_device_range(what.c_str(), data, numbers * bytes_of(layout.type));
}

// of the memory from first to last, columns' gaps included
bool overlap(const void* x, const SimulatedLayout& a, const void* y, const SimulatedLayout& b) {
    const auto end = [](const void* data, const SimulatedLayout& layout) {
        return static_cast<const char*>(data) +
               layout.leading * layout.columns * bytes_of(layout.type);
    };
    return x < end(y, b) && y < end(x, a);
}

template <class Type, class... Values>
cublasStatus_t create(Type** object, Values... values) {
    *object = new Type{values...};
    return CUBLAS_STATUS_SUCCESS;
}
template <class Type>
cublasStatus_t destroy(Type* object) {
    delete object;
    return CUBLAS_STATUS_SUCCESS;
}
template <class Value>
cublasStatus_t set(Value& member, const void* value, size_t bytes) {
    if (bytes != sizeof member) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&member, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

struct cublasLtContext {};

const char* cublasLtGetStatusString(cublasStatus_t status) {
    if (status == CUBLAS_STATUS_SUCCESS) return "CUBLAS_STATUS_SUCCESS";
    return status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE"
                                                 : "CUBLAS_STATUS_NOT_SUPPORTED";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return create(handle); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return destroy(handle); }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
    if (scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    return create(product, compute, int32_t(CUBLAS_OP_N), int32_t(CUBLAS_OP_N));
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) { return destroy(product); }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
    const bool a = attribute == CUBLASLT_MATMUL_DESC_TRANSA;
    return set(a ? product->transpose_a : product->transpose_b, value, bytes);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t columns, int64_t leading) {
    return create(layout, type, rows, columns, leading);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    return destroy(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
    *preference = new SimulatedPreference{0, {256, 256, 256, 256}, ~0u};  // the library's defaults
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    return destroy(preference);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return set(preference->workspace, value, bytes);
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        return set(preference->reductions, value, bytes);
    const int matrix = attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
    return set(preference->alignments[matrix], value, bytes);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* count) {
    *count = 0;
    if (!supported(*a, *b, *c, *d)) return CUBLAS_STATUS_NOT_SUPPORTED;
    for (const int i : {2, 0, 1}) {
        const size_t workspace = i == 1 ? workspace_of_1 : 0;
        if (*count == wanted || workspace > preference->workspace) continue;
        if (i == 2 && !(preference->reductions & CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE)) continue;
        const uint32_t* const n = preference->alignments;
        results[(*count)++] = {{i, {n[0], n[1], n[2], n[3]}}, workspace, CUBLAS_STATUS_SUCCESS, 1};
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
    const bool a_transposed = product->transpose_a == CUBLAS_OP_T;
    const bool b_transposed = product->transpose_b == CUBLAS_OP_T;
    const bool tf32 = product->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    const bool backwards = algorithm && algorithm->number == 1;
    const bool in_parts = algorithm && algorithm->number == 2;
    const float scale = *static_cast<const float*>(alpha), kept = *static_cast<const float*>(beta);
    const size_t m = d_layout->rows, n = d_layout->columns;
    const size_t k = a_transposed ? a_layout->rows : a_layout->columns;
    if (!supported(*a_layout, *b_layout, *c_layout, *d_layout)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (m == 0 || n == 0 || k == 0) sim::fail("a size of a product is zero");
    if (!a || !b || !d || (kept != 0 && !c)) sim::fail("a matrix of a product is null");
    check_matrix("A", a, *a_layout, a_transposed ? k : m, a_transposed ? m : k);
    check_matrix("B", b, *b_layout, b_transposed ? n : k, b_transposed ? k : n);
    check_matrix("C", kept != 0 ? c : nullptr, *c_layout, m, n);
    check_matrix("D", d, *d_layout, m, n);
    const void* const matrices[] = {a, b, c, d};
    for (int i = 0; algorithm && i < 4; i++)
        if (reinterpret_cast<size_t>(matrices[i]) % algorithm->alignments[i] != 0)
            sim::fail(std::string("matrix ") + "ABCD"[i] + " of a product is not aligned to " +
                      std::to_string(algorithm->alignments[i]) + " bytes, as its algorithm wants");
    if (overlap(d, *d_layout, a, *a_layout) || overlap(d, *d_layout, b, *b_layout))
        sim::fail("the result of a product overlaps one of its inputs");
    if (kept != 0 && c == d && c_layout->leading != d_layout->leading)
        sim::fail("C and D of a product are the same memory with different leading dimensions");
    sim::check_device_range("the workspace of a product", workspace, workspace_bytes);
    if (backwards && workspace_bytes < workspace_of_1) return CUBLAS_STATUS_INVALID_VALUE;

    const sim::DeviceAccess access(stream);
    if (backwards) std::memset(workspace, 0xff, workspace_of_1);
    const std::vector<float> left = unpacked(a, *a_layout, a_transposed, tf32);
    const std::vector<float> right = unpacked(b, *b_layout, b_transposed, tf32);
    std::vector<float> sums(m);
    for (size_t j = 0; j < n; j++) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (size_t step = 0; step < k; step++) {
            if (in_parts && step == k / 2)
                for (float& sum : sums) sum = rounded(sum, d_layout->type);
            const size_t l = backwards ? k - 1 - step : step;
            const float factor = right[l + j * k];
            for (size_t i = 0; i < m; i++) sums[i] += left[i + l * m] * factor;
        }
        for (size_t i = 0; i < m; i++) {
            float result = scale * sums[i];
            if (kept != 0) result += kept * load(c, c_layout->type, i + j * c_layout->leading);
            store(d, d_layout->type, i + j * d_layout->leading, result);
        }
    }
    return CUBLAS_STATUS_SUCCESS;
}
