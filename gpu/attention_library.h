// Attention by a library, cuDNN, where it is linked: when it is used, as pure functions that ask no GPU,
// so that a plan of memory needs none; and its two calls. Of bf16 alone.
#pragma once

#include <algorithm>

#include "device.h"
#include "kernels.h"

namespace peri {

// Its backward keeps a T x T matrix of bf16 for each head, since only so every sum of dq has one writer
// and the same inputs give the same bits. As many sequences are computed at once as have room here:
constexpr size_t library_budget = size_t(4) << 30;

// 91900 is cuDNN 9.19.0; 0: none is linked.
int library_version();

// generation: the first number of the GPU's compute capability; 9 is Hopper, which alone takes heads
// above 128 in backward; that the same inputs give the same bits is said of 8 to 10. Short sequences gain
// nothing. Where query heads share a key, each head's dk and dv is rounded to bf16 before they are added.
constexpr bool library_takes(const AttentionShape& s, bool documents, int generation) {
    const int largest_head = generation == 9 ? 256 : 128;
    return generation >= 8 && generation <= 10 && !documents && s.first == 0 && s.Tq == s.Tk &&
           s.Tq >= 64 && s.D % 8 == 0 && s.D <= largest_head;
}

// Bytes for one sequence: the matrices, in whole tiles of 64 x 128; dout . out of every query; where
// query heads share a key, dk and dv of every query head; 1 MiB for what else cuDNN wants.
constexpr size_t library_scratch_of_one(const AttentionShape& s) {
    const size_t queries = size_t(s.Tq + 63) / 64 * 64, keys = size_t(s.Tk + 127) / 128 * 128;
    const size_t full_heads = s.H == s.KV ? 0 : 2 * keys * s.D * sizeof(float);
    return s.H * (queries * keys * 2 + queries * sizeof(float) + full_heads) + (size_t(1) << 20);
}

// How many sequences of the batch are computed at once; and the bytes that takes.
constexpr int library_sequences(const AttentionShape& s) {
    const size_t fit = library_budget / library_scratch_of_one(s);
    return static_cast<int>(std::clamp<size_t>(fit, 1, s.B));
}
constexpr size_t library_scratch(const AttentionShape& s) {
    return library_sequences(s) * library_scratch_of_one(s);
}

// Whether the library computes this shape. By itself it does where the budget suffices for a sequence;
// asked for, wherever it can.
constexpr bool library_chosen(AttentionBy by, const AttentionShape& s, bool documents,
                              int generation) {
    return by != AttentionBy::tiles && library_takes(s, documents, generation) &&
           (by == AttentionBy::library || library_scratch_of_one(s) <= library_budget);
}

// As attention_forward and attention_backward of kernels.h, for shapes that it takes.
void library_forward(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                     AttentionShape s);
void library_backward(bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* out,
                      const bf16* q, const bf16* k, const bf16* v, const float* lse,
                      AttentionShape s);

}  // namespace peri
