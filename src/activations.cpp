#include "activations.h"

#include <algorithm>

#include "device.h"

namespace peri {

namespace {

template <class T>
NormStats<T> take_stats(Slicer& slice, bool wanted, bool layernorm, size_t rows) {
    NormStats<T> s;
    s.rstd = slice.take_if<Accum<T>>(wanted, rows);
    s.mean = slice.take_if<Accum<T>>(wanted && layernorm, rows);
    return s;
}

template <class T>
void lay_out_attention(SubLayerActivations<T>& v, Slicer& slice, const ModelConfig& c,
                       const SubLayer& s, size_t R) {
    const size_t C = c.width, KVD = c.kv_width();
    const bool qk = s.qk != QkNorm::none, per_head = s.qk == QkNorm::head;
    v.q_in = slice.take_if<T>(qk, R * C);
    v.k_in = slice.take_if<T>(qk, R * KVD);
    v.v_in = slice.take_if<T>(s.inner, R * KVD);
    v.q_norm = take_stats<T>(slice, qk, c.layernorm, R * (per_head ? c.heads : 1));
    v.k_norm = take_stats<T>(slice, qk, c.layernorm, R * (per_head ? c.kv_heads : 1));
    v.v_norm = take_stats<T>(slice, s.inner, c.layernorm, R);
    v.q = slice.take<T>(R * C);
    v.k = slice.take<T>(R * KVD);
    v.v = slice.take<T>(R * KVD);
    v.context = slice.take<T>(R * C);
    v.lse = slice.take<Accum<T>>(R * c.heads);
}

template <class T>
void lay_out_mlp(SubLayerActivations<T>& v, Slicer& slice, Slicer& of_norms, const ModelConfig& c,
                 const SubLayer& s, size_t R) {
    const size_t F = c.ffn;
    v.gate_in = slice.take_if<T>(s.inner, R * F);
    v.up_in = slice.take_if<T>(s.inner, R * F);
    v.gate_norm = take_stats<T>(slice, s.inner, c.layernorm, R);
    v.up_norm = take_stats<T>(slice, s.inner, c.layernorm, R);
    v.gate = (s.inner ? of_norms : slice).take<T>(R * F);
    v.up = (s.inner ? of_norms : slice).take<T>(R * F);
    v.h = of_norms.take<T>(R * F);
}

// One sub-layer's views: from `kept`, memory of its own, or from `again`, the memory of what is
// computed again, where all sub-layers lie over one another.
template <class T>
void lay_out_sublayer(SubLayerActivations<T>& v, Slicer& kept, Slicer& again, const ModelConfig& c,
                      const SubLayer& s, size_t R) {
    const size_t C = c.width;
    Slicer& of_norms = c.recompute == Recompute::none ? kept : again;
    Slicer& rest = c.recompute == Recompute::sublayers ? again : kept;
    v.x_tilde = of_norms.take_if<T>(s.input_norm, R * C);
    v.input_norm = take_stats<T>(rest, s.input_norm, c.layernorm, R);
    if (s.attention)
        lay_out_attention(v, rest, c, s, R);
    else
        lay_out_mlp(v, rest, of_norms, c, s, R);
    v.a = rest.take_if<T>(s.output_norm, R * C);
    v.output_norm = take_stats<T>(rest, s.output_norm, c.layernorm, R);
    v.o = rest.take_if<T>(s.main_norm, R * C);
    v.main_norm = take_stats<T>(rest, s.main_norm, c.layernorm, R);
    v.y = kept.take<T>(R * C);
}

template <class T>
void lay_out_sublayers(Activations<T>& views, Slicer& slice, const ModelConfig& c, size_t R) {
    const std::vector<SubLayer> list = sublayers(c.placement);
    size_t most = 0;  // bytes that one of them computes again
    for (const SubLayer& s : list) {
        SubLayerActivations<T> unused;
        Slicer kept(nullptr), again(nullptr);
        lay_out_sublayer(unused, kept, again, c, s, R);
        most = std::max(most, again.used());
    }
    char* const shared = slice.take<char>(most);
    views.sublayers.assign(list.size(), {});
    for (size_t i = 0; i < list.size(); i++) {
        Slicer again(shared);
        lay_out_sublayer(views.sublayers[i], slice, again, c, list[i], R);
    }
}

}  // namespace

template <class T>
size_t lay_out(Activations<T>& views, const ModelConfig& c, int B, int T_, Purpose purpose,
               void* base) {
    Slicer slice(base);
    const size_t R = size_t(B) * T_, C = c.width, F = c.ffn;
    views.tokens = slice.take<int>(R);
    views.labels = slice.take<int>(R);
    views.order = slice.take<int>(R);
    views.document = slice.take_if<int>(c.document_mask, R);
    views.rope = slice.take<Accum<T>>(size_t(T_) * c.head_size());
    views.embedded = slice.take<T>(R * C);
    views.x0 = c.embedding_norm ? slice.take<T>(R * C) : views.embedded;
    views.embedding_norm = take_stats<T>(slice, c.embedding_norm, c.layernorm, R);
    views.a = slice.take<T>(R * C);

    lay_out_sublayers(views, slice, c, R);
    views.last = c.final_norm ? slice.take<T>(R * C) : views.sublayers.back().y;
    views.final_norm = take_stats<T>(slice, c.final_norm, c.layernorm, R);

    if (purpose == Purpose::inference) return slice.used();

    const bool any_C = std::any_of(c.placement.begin(), c.placement.end(),
                                   [](const Placement& p) { return p.main_norm; });
    views.d_hidden = slice.take<T>(R * C);
    views.d_o = slice.take_if<T>(any_C, R * C);
    views.d_a = slice.take<T>(R * C);
    views.d_x_tilde = slice.take<T>(R * C);
    views.d_q = slice.take<T>(R * C);
    views.d_k = slice.take<T>(R * c.kv_width());
    views.d_v = slice.take<T>(R * c.kv_width());
    views.d_context = slice.take<T>(R * C);
    views.d_gate = slice.take<T>(R * F);
    views.d_up = slice.take<T>(R * F);
    return slice.used();
}

template size_t lay_out(Activations<double>&, const ModelConfig&, int, int, Purpose, void*);
template size_t lay_out(Activations<float>&, const ModelConfig&, int, int, Purpose, void*);
template size_t lay_out(Activations<bf16>&, const ModelConfig&, int, int, Purpose, void*);

}  // namespace peri
