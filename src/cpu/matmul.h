// Matrix products, through whichever library is faster for the shape on this machine: OpenBLAS
// always, oneDNN for float and bf16 where it was there at build time.
#pragma once

#include <cstddef>
#include <string>

#include "real.h"

namespace peri {

enum class Op { none, transpose };

// c = op(a) op(b), or c += op(a) op(b):   op(a) (M,K)   op(b) (K,N)   c (M,N), all without gaps
// between rows. Sums are kept in Accum<Real> and rounded to C once.
//   (C, Real): (double, double), (float, float), (bf16, bf16), (float, bf16), (fp16, fp16), (float, fp16)
//   scratch: matmul_scratch<Real>() bytes, what they hold is lost; null where that is 0
template <class C, class Real>
void matmul(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K, bool add,
            void* scratch);

template <class Real>
size_t matmul_scratch();

// Until a shape has been tuned, OpenBLAS computes it.
//
// tune_matmul times both libraries on products of a shape (of fewer rows where one would take
// long) and lets the faster compute them from now on. For double it does nothing.
template <class C, class Real>
void tune_matmul(Op op_a, Op op_b, int M, int N, int K, bool add);

// The choices made, a line a shape: "fp32 nt 2048 128 128 set onednn 1.17", the last number being
// how many times as fast the chosen library was. set_matmul_choices makes those choices again and
// returns the first line that it cannot read or follow, "" if there is none.
std::string matmul_choices();
std::string set_matmul_choices(const std::string& lines);

}  // namespace peri
