// Matrix products by cuBLASLt.
#pragma once

#include <cstddef>

#include "real.h"

namespace peri {

enum class Op { none, transpose };

// Numbers from a row of the matrix to its next, as it lies in memory; 0: there are no gaps.
struct Pitch {
    int a = 0, c = 0;
};

// c = op(a) op(b), or c += op(a) op(b):   op(a) (M,K)   op(b) (K,N)   c (M,N). Sums are kept in float
// and rounded to C once. Where get_tf32 says so, a and b of float are rounded to tf32.
//   (C, Real): (float, float), (bf16, bf16), (float, bf16), (fp16, fp16), (float, fp16)
//   scratch: matmul_scratch<Real>() bytes on the device, what they hold is lost
template <class C, class Real>
void matmul(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K, bool add,
            void* scratch, Pitch pitch = {});

// Times each algorithm that cuBLASLt offers for such a product, of memory that begins on boundaries of 16
// bytes; the fastest computes it from now on. Does nothing where there is no memory for it.
template <class C, class Real>
void tune_matmul(Op op_a, Op op_b, int M, int N, int K, bool add, Pitch pitch = {});

// 130100 is cuBLASLt 13.1.0: what was tuned is a place in its list, which another version orders otherwise.
size_t matmul_version();

template <class Real>
constexpr size_t matmul_scratch() {
    return size_t(32) << 20;
}

}  // namespace peri
