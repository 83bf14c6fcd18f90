// One name for sgemm and dgemm, row-major.
#pragma once

#include <cblas.h>

namespace peri {

enum class Op : int { none = CblasNoTrans, transpose = CblasTrans };

// C = alpha op(A) op(B) + beta C,   op(A) (M,K)   op(B) (K,N)   C (M,N);   lda, ldb, ldc: the
// distance between rows as stored. Inside a parallel region a product runs on the calling thread.
inline void gemm(Op op_a, Op op_b, int M, int N, int K, float alpha, const float* A, int lda,
                 const float* B, int ldb, float beta, float* C, int ldc) {
    cblas_sgemm(CblasRowMajor, static_cast<CBLAS_TRANSPOSE>(op_a),
                static_cast<CBLAS_TRANSPOSE>(op_b), M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
}
inline void gemm(Op op_a, Op op_b, int M, int N, int K, double alpha, const double* A, int lda,
                 const double* B, int ldb, double beta, double* C, int ldc) {
    cblas_dgemm(CblasRowMajor, static_cast<CBLAS_TRANSPOSE>(op_a),
                static_cast<CBLAS_TRANSPOSE>(op_b), M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
}

}  // namespace peri
