// Matrix products by cuBLASLt.
#pragma once

#include <cstddef>

#include "real.h"

namespace peri {

enum class Op { none, transpose };

// c = op(a) op(b), or c += op(a) op(b):   op(a) (M,K)   op(b) (K,N)   c (M,N), all without gaps
// between rows. Sums are kept in float and rounded to C once. Where get_tf32 says so, a and b of
// float are rounded to tf32.
//   (C, T): (float, float), (bf16, bf16), (float, bf16)
//   scratch: product_scratch<T>() bytes on the device, what they hold is lost
template <class C, class T>
void product(C* c, const T* a, Op op_a, const T* b, Op op_b, int M, int N, int K, bool add,
             void* scratch);

template <class T>
constexpr size_t product_scratch() {
    return size_t(32) << 20;
}

}  // namespace peri
