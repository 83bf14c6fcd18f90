// Matrix products: by CLBlast on a GPU, by an own kernel on a processor, where kernels that are tuned for GPUs take many
// times as long.
#pragma once

#include <cstddef>

namespace peri::opencl {

enum class Op { none, transpose };

// c = op(a) op(b), or c += op(a) op(b):   op(a) (M,K)   op(b) (K,N)   c (M,N), all without gaps between rows. Sums are
// kept in float and rounded to C once.
//   (C, Real): (float, float), (bf16, bf16), (float, bf16), (fp16, fp16), (float, fp16)
//   scratch: product_scratch<Real>() bytes at the beginning of the workspace, what they hold is lost
template <class C, class Real>
void product(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K, bool add,
             void* scratch);

template <class Real>
size_t product_scratch();

}  // namespace peri::opencl
