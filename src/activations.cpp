#include "activations.h"

#include <algorithm>

#include "device.h"

namespace peri {

namespace {

template <class Real>
NormStats<Real> take_stats(Slicer& slice, bool wanted, bool layernorm, size_t rows) {
    NormStats<Real> s;
    s.rstd = slice.take_if<Accum<Real>>(wanted, rows);
    s.mean = slice.take_if<Accum<Real>>(wanted && layernorm, rows);
    return s;
}

template <class Real>
void lay_out_attention(SubLayerActivations<Real>& v, Slicer& slice, Slicer& cache,
                       const ModelConfig& c, const SubLayer& s, size_t R) {
    const size_t C = c.width, KVD = c.kv_width();
    const bool qk = s.qk != QkNorm::none, per_head = s.qk == QkNorm::head;
    v.q_in = slice.take_if<Real>(qk, R * C);
    v.k_in = slice.take_if<Real>(qk, R * KVD);
    v.v_in = slice.take_if<Real>(s.inner, R * KVD);
    v.q_norm = take_stats<Real>(slice, qk, c.layernorm, R * (per_head ? c.heads : 1));
    v.k_norm = take_stats<Real>(slice, qk, c.layernorm, R * (per_head ? c.kv_heads : 1));
    v.v_norm = take_stats<Real>(slice, s.inner, c.layernorm, R);
    v.q = slice.take<Real>(R * C);
    v.k = cache.take<Real>(R * KVD);
    v.v = cache.take<Real>(R * KVD);
    v.context = slice.take<Real>(R * C);
    v.lse = slice.take<Accum<Real>>(R * c.heads);
}

template <class Real>
void lay_out_mlp(SubLayerActivations<Real>& v, Slicer& slice, Slicer& of_norms,
                 const ModelConfig& c, const SubLayer& s, size_t R) {
    const size_t F = c.ffn;
    v.gate_in = slice.take_if<Real>(s.inner, R * F);
    v.up_in = slice.take_if<Real>(s.inner, R * F);
    v.gate_norm = take_stats<Real>(slice, s.inner, c.layernorm, R);
    v.up_norm = take_stats<Real>(slice, s.inner, c.layernorm, R);
    v.gate = (s.inner ? of_norms : slice).take<Real>(R * F);
    v.up = (s.inner ? of_norms : slice).take<Real>(R * F);
    v.h = of_norms.take<Real>(R * F);
}

// One sub-layer's views: from `kept`, memory of its own, or from `again`, the memory of what nothing reads
// after the sub-layer or what is computed again, where all sub-layers lie over one another. y is the caller's.
template <class Real>
void lay_out_sublayer(SubLayerActivations<Real>& v, Slicer& kept, Slicer& again,
                      const ModelConfig& c, const SubLayer& s, size_t R, Purpose purpose) {
    const size_t C = c.width;
    const bool training = purpose == Purpose::training;
    Slicer& of_norms = training && c.recompute == Recompute::none ? kept : again;
    Slicer& of_cache = c.recompute == Recompute::sublayers ? again : kept;
    Slicer& rest = training ? of_cache : again;
    v.x_tilde = of_norms.take_if<Real>(s.input_norm, R * C);
    v.input_norm = take_stats<Real>(rest, s.input_norm, c.layernorm, R);
    if (s.attention)
        lay_out_attention(v, rest, of_cache, c, s, R);
    else
        lay_out_mlp(v, rest, of_norms, c, s, R);
    v.a = rest.take_if<Real>(s.output_norm, R * C);
    v.output_norm = take_stats<Real>(rest, s.output_norm, c.layernorm, R);
    v.o = rest.take_if<Real>(s.main_norm, R * C);
    v.main_norm = take_stats<Real>(rest, s.main_norm, c.layernorm, R);
}

// Going forward alone, a hidden state is gone when the next but one is there.
template <class Real>
void lay_out_sublayers(Activations<Real>& views, Slicer& slice, const ModelConfig& c, size_t R,
                       Purpose purpose) {
    const std::vector<SubLayer> list = sublayers(c.placement);
    size_t most = 0;  // bytes that one of them computes again
    for (const SubLayer& s : list) {
        SubLayerActivations<Real> unused;
        Slicer kept(nullptr), again(nullptr);
        lay_out_sublayer(unused, kept, again, c, s, R, purpose);
        most = std::max(most, again.used());
    }
    char* const shared = slice.take<char>(most);
    views.sublayers.assign(list.size(), {});
    for (size_t i = 0; i < list.size(); i++) {
        Slicer again(shared);
        lay_out_sublayer(views.sublayers[i], slice, again, c, list[i], R, purpose);
        const bool reuse = purpose == Purpose::inference && i >= 2;
        views.sublayers[i].y =
            reuse ? views.sublayers[i - 2].y : slice.take<Real>(R * size_t(c.width));
    }
}

}  // namespace

template <class Real>
size_t lay_out(Activations<Real>& views, const ModelConfig& c, int B, int T, Purpose purpose,
               void* base) {
    Slicer slice(base);
    const size_t R = size_t(B) * T, C = c.width, F = c.ffn;
    views.tokens = slice.take<int>(R);
    views.targets = slice.take<int>(R);
    views.order = slice.take<int>(R);
    views.document = slice.take_if<int>(c.document_mask, R);
    views.rope = slice.take<Accum<Real>>(size_t(T) * c.head_size());
    views.embedded = slice.take<Real>(R * C);
    views.x0 = c.embedding_norm ? slice.take<Real>(R * C) : views.embedded;
    views.embedding_norm = take_stats<Real>(slice, c.embedding_norm, c.layernorm, R);
    views.a = slice.take<Real>(R * C);

    lay_out_sublayers(views, slice, c, R, purpose);
    views.last = c.final_norm ? slice.take<Real>(R * C) : views.sublayers.back().y;
    views.final_norm = take_stats<Real>(slice, c.final_norm, c.layernorm, R);

    if (purpose == Purpose::inference) return slice.used();

    const bool any_C = std::any_of(c.placement.begin(), c.placement.end(),
                                   [](const Placement& p) { return p.main_norm; });
    views.d_hidden = slice.take<Real>(R * C);
    views.d_o = slice.take_if<Real>(any_C, R * C);
    views.d_a = slice.take<Real>(R * C);
    views.d_x_tilde = slice.take<Real>(R * C);
    views.d_q = slice.take<Real>(R * C);
    views.d_k = slice.take<Real>(R * c.kv_width());
    views.d_v = slice.take<Real>(R * c.kv_width());
    views.d_context = slice.take<Real>(R * C);
    views.d_gate = slice.take<Real>(R * F);
    views.d_up = slice.take<Real>(R * F);
    return slice.used();
}

template size_t lay_out(Activations<double>&, const ModelConfig&, int, int, Purpose, void*);
template size_t lay_out(Activations<float>&, const ModelConfig&, int, int, Purpose, void*);
template size_t lay_out(Activations<bf16>&, const ModelConfig&, int, int, Purpose, void*);
template size_t lay_out(Activations<fp16>&, const ModelConfig&, int, int, Purpose, void*);

}  // namespace peri
