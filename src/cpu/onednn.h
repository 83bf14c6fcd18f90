// Matrix products by oneDNN, where it was there at build time.
#pragma once

#include <string>

#include "cpu/matmul.h"

namespace peri {

// c = op(a) op(b), or c += op(a) op(b), as matmul() says; (C, Real): (float, float), (bf16, bf16),
// (float, bf16), (fp16, fp16), (float, fp16). False, and c as it was, where this build has no oneDNN or
// oneDNN has no such product for this processor (bf16 needs AVX-512, fp16 AVX512-FP16).
template <class C, class Real>
bool onednn_matmul(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K,
                   bool add);

// ", oneDNN 2.6.3", or "" where this build has none
std::string onednn_description();

}  // namespace peri
