// What attention's two paths share: attention.cu, the plain one for any head size, and
// attention_tiles.cu, on tensor cores, for bf16 and fp16 and the head sizes below.
#pragma once

#include "cuda.h"
#include "kernels.h"

namespace peri {

// The keys that a query sees: begin <= j < end.
struct Seen {
    int begin, end;
};

__device__ inline Seen seen_by(int b, int t, const int* document, const AttentionShape& s) {
    return {document ? document[size_t(b) * s.Tq + t] : 0, s.first + t + 1};
}

// Entry (b,t,h) of a (B,T,H,D) array, and entry (b,h,t) of a (B,H,T) one.
__device__ inline size_t at(int b, int t, int h, int T, int H, int D) {
    return ((size_t(b) * T + t) * H + h) * D;
}
__device__ inline size_t entry_at(int b, int h, int t, const AttentionShape& s) {
    return (size_t(b) * s.H + h) * s.Tq + t;
}

constexpr bool tiles_take(int D) { return D == 64 || D == 80 || D == 128 || D == 160; }

// As attention_forward and attention_backward of kernels.h, every array on a 16-byte boundary. p,
// and ds in backward, are rounded to Narrow before they are multiplied.
//   delta (B,H,Tq): dout . out of every query
template <class Narrow>
void attention_tiles_forward(Narrow* out, float* lse, const Narrow* q, const Narrow* k,
                             const Narrow* v, const int* document, AttentionShape shape);
template <class Narrow>
void attention_tiles_backward(Narrow* dq, Narrow* dk, Narrow* dv, const Narrow* dout,
                              const Narrow* q, const Narrow* k, const Narrow* v, const float* lse,
                              const float* delta, const int* document, AttentionShape shape);

}  // namespace peri
