// Attention as cuDNN is told of it: a graph for forward, one for backward, whose tensors are our arrays
// where they lie. Nothing here asks a GPU, so that tests/cuda plans these graphs without one.
#pragma once

#include <cudnn_frontend.h>

#include <cmath>
#include <memory>

#include "kernels.h"

namespace peri {

// The names by which arrays are handed to a graph.
enum AttentionArray : int64_t {
    in_q = 1,
    in_k,
    in_v,
    in_out,
    in_lse,
    in_dout,
    in_dq,
    in_dk,
    in_dv
};

struct AttentionGraph {
    cudnn_frontend::graph::Graph graph;
    AttentionShape s;

    using Attributes = cudnn_frontend::graph::Tensor_attributes;
    using Tensor = std::shared_ptr<Attributes>;

    // capability: of the GPU that will run it, such as 90; 0: the one that is here
    AttentionGraph(const AttentionShape& shape, int capability) : s(shape) {
        using cudnn_frontend::DataType_t;
        if (capability) graph.set_sm_version(capability);
        graph.set_io_data_type(DataType_t::BFLOAT16)
            .set_intermediate_data_type(DataType_t::FLOAT)
            .set_compute_data_type(DataType_t::FLOAT);
    }

    // (B,T,heads,D) as it lies: cuDNN counts its dimensions in the order B, heads, T, D
    template <class Into>
    void place(Into& tensor, AttentionArray name, int64_t heads) const {
        const int64_t B = s.B, T = s.Tq, D = s.D;
        tensor.set_uid(name).set_dim({B, heads, T, D}).set_stride({T * heads * D, D, heads * D, 1});
    }
    Tensor input(AttentionArray name, int heads) {
        Attributes tensor;
        place(tensor, name, heads);
        return graph.tensor(tensor);
    }
    void output(const Tensor& tensor, AttentionArray name, int heads) const {
        place(*tensor, name, heads);
        tensor->set_output(true);
    }
    template <class Into>
    void place_lse(Into& tensor) const {  // (B,H,T)
        const int64_t B = s.B, T = s.Tq, H = s.H;
        tensor.set_uid(in_lse).set_dim({B, H, T, 1}).set_stride({H * T, T, 1, 1});
        tensor.set_data_type(cudnn_frontend::DataType_t::FLOAT);
    }
};

inline AttentionGraph attention_forward_graph(const AttentionShape& s, int capability = 0) {
    AttentionGraph g(s, capability);
    auto [out, lse] = g.graph.sdpa(g.input(in_q, s.H), g.input(in_k, s.KV), g.input(in_v, s.KV),
                                   cudnn_frontend::graph::SDPA_attributes()
                                       .set_name("attention_forward")
                                       .set_generate_stats(true)
                                       .set_causal_mask(true)
                                       .set_attn_scale(1 / std::sqrt(static_cast<float>(s.D))));
    g.output(out, in_out, s.H);
    g.place_lse(*lse);
    lse->set_output(true);
    return g;
}

// Deterministic: every sum of dq has one writer, which costs the workspace of attention_library.h.
inline AttentionGraph attention_backward_graph(const AttentionShape& s, int capability = 0) {
    AttentionGraph g(s, capability);
    AttentionGraph::Attributes lse;
    g.place_lse(lse);
    auto [dq, dk, dv] =
        g.graph.sdpa_backward(g.input(in_q, s.H), g.input(in_k, s.KV), g.input(in_v, s.KV),
                              g.input(in_out, s.H), g.input(in_dout, s.H), g.graph.tensor(lse),
                              cudnn_frontend::graph::SDPA_backward_attributes()
                                  .set_name("attention_backward")
                                  .set_causal_mask(true)
                                  .set_deterministic_algorithm(true)
                                  .set_attn_scale(1 / std::sqrt(static_cast<float>(s.D))));
    g.output(dq, in_dq, s.H);
    g.output(dk, in_dk, s.KV);
    g.output(dv, in_dv, s.KV);
    return g;
}

}  // namespace peri
