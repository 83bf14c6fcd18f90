#pragma once

#include "problem.h"

namespace peri {

using Documents = std::vector<int>;  // by (b,t), the key at which its document starts; empty: null

template <class Real>
Problem<Real> attention(AttentionShape s, const Documents& documents, uint64_t seed) {
    Problem<Real> p("attention", {s.B, s.Tq, s.Tk, s.first, s.H, s.KV, s.D}, seed);
    p.workspace(attention_workspace<Real>(s));
    const size_t queries = size_t(s.B) * s.Tq * s.H * s.D, keys = size_t(s.B) * s.Tk * s.KV * s.D;
    const size_t readers = size_t(s.Tq) * (s.H / s.KV);  // of a key
    const int* const document = documents.empty() ? nullptr : p.integers("document", documents);
    Real* const q = p.input("q", queries);
    Real* const k = p.input("k", keys);
    Real* const v = p.input("v", keys);
    Real* const out = p.output("out", queries, s.Tk + s.D);
    Accum<Real>* const lse = p.template output<Accum<Real>>("lse", size_t(s.B) * s.H * s.Tq, s.D);
    Real* const dout = p.upstream("out");
    Real* const dq = p.gradient("q", s.Tk + s.D);
    Real* const dk = p.gradient("k", readers + s.D);
    Real* const dv = p.gradient("v", readers + s.D);
    p.forward = [=] { attention_forward<Real>(out, lse, q, k, v, document, s); };
    p.backward = [=] {
        attention_backward<Real>(dq, dk, dv, dout, out, q, k, v, lse, document, s);
    };
    return p;
}

// The second document of sequence b starts at position start + b.
inline Documents two_documents(const AttentionShape& s, int start) {
    Documents result;
    for (int b = 0; b < s.B; b++)
        for (int t = 0; t < s.Tq; t++) result.push_back(s.first + t >= start + b ? start + b : 0);
    return result;
}

}  // namespace peri
