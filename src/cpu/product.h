// Matrix products, through whichever library is faster for the shape on this machine: OpenBLAS
// always, oneDNN for float where it was there at build time.
#pragma once

#include <string>

namespace peri {

enum class Op { none, transpose };

// c = op(a) op(b), or c += op(a) op(b):   op(a) (M,K)   op(b) (K,N)   c (M,N), all without gaps
// between rows. Inside a parallel region a product runs on the calling thread.
void product(float* c, const float* a, Op op_a, const float* b, Op op_b, int M, int N, int K,
             bool add);
void product(double* c, const double* a, Op op_a, const double* b, Op op_b, int M, int N, int K,
             bool add);

// Until a shape has been tuned, OpenBLAS computes it.
//
// tune_product times both libraries on float products of a shape (of fewer rows where one would
// take long) and lets the faster compute them from now on. For double it does nothing.
void tune_product(float, Op op_a, Op op_b, int M, int N, int K, bool add);
inline void tune_product(double, Op, Op, int, int, int, bool) {}

// The choices made, a line a shape: "nt 2048 128 128 set onednn 1.17", the number being how many
// times as fast the chosen library was. set_product_choices makes those choices again and returns
// the first line that it cannot read or follow, "" if there is none.
std::string product_choices();
std::string set_product_choices(const std::string& lines);

}  // namespace peri
