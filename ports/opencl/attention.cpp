#include <algorithm>

#include "device.h"
#include "help/opencl.h"
#include "kernels.h"

EMBED(opencl_attention, "attention.cl");

namespace peri {

using namespace opencl;

namespace {

const File file = {"attention", opencl_attention_begin, opencl_attention_end};

size_t queries(const AttentionShape& s) { return size_t(s.B) * s.H * s.Tq; }
size_t keys(const AttentionShape& s) { return size_t(s.B) * s.Tk * s.KV; }

// A head's numbers in a group's memory, in whole packs.
Local of_head(const AttentionShape& s) { return {(s.D + wide() - 1) / wide() * wide() * 4}; }

}  // namespace

template <class Real>
size_t attention_workspace(AttentionShape s) {
    return queries(s) * sizeof(Accum<Real>);
}

template <class Real>
void attention_forward(Real* out, Accum<Real>* lse, const Real* q, const Real* k, const Real* v,
                       const int* document, AttentionShape s) {
    launch<Real>(file, "attention_forward", queries(s), out, lse, q, k, v, document, s, of_head(s),
                 of_head(s));
}

template <class Real>
void attention_backward(Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out,
                        const Real* q, const Real* k, const Real* v, const Accum<Real>* lse,
                        const int* document, AttentionShape s) {
    auto* const delta = static_cast<Accum<Real>*>(workspace<Real>(attention_workspace<Real>(s)));
    const Local head = of_head(s);
    launch<Real>(file, "attention_delta", (queries(s) + group() - 1) / group(), delta, dout, out,
                 s);
    launch<Real>(file, "attention_dq", queries(s), dq, dout, q, k, v, lse, delta, document, s, head,
                 head, head);
    launch<Real>(file, "attention_dkv", keys(s), dk, dv, dout, q, k, v, lse, delta, document, s,
                 head, head, head, head);
}

#define INSTANTIATE(Real)                                                                        \
    template size_t attention_workspace<Real>(AttentionShape);                                   \
    template void attention_forward(Real*, Accum<Real>*, const Real*, const Real*, const Real*,  \
                                    const int*, AttentionShape);                                 \
    template void attention_backward(Real*, Real*, Real*, const Real*, const Real*, const Real*, \
                                     const Real*, const Real*, const Accum<Real>*, const int*,   \
                                     AttentionShape);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
