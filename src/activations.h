// What forward leaves for backward, and the gradients on their way: views into one arena.
#pragma once

#include <cstddef>
#include <vector>

#include "config.h"
#include "real.h"

namespace peri {

// What a model is for. Inference, which only goes forward, needs no memory for gradients, and keeps no more than
// keys and values (with Recompute::sublayers not even these) and the last two hidden states.
enum class Purpose { training, inference };

template <class Real>
struct NormStats {
    Accum<Real>*rstd = nullptr, *mean = nullptr;  // (rows); mean: LayerNorm only
};

// One sub-layer's. R = B T rows; null where the placement has no such norm. The letters are those
// of the sub-layer's equations (placement.h). With --recompute some lie in memory that all
// sub-layers share, and hold those of the sub-layer that ran last.
template <class Real>
struct SubLayerActivations {
    Real* x_tilde = nullptr;  // (R,C) with an input norm; else the sub-layer reads x itself
    Real* a = nullptr;        // (R,C) with an output norm; else it lives in Activations::a
    Real* o = nullptr;        // (R,C) with a main norm; else o is y
    Real* y = nullptr;        // (R,C) the hidden state after the sub-layer, x of the next
    NormStats<Real> input_norm, output_norm, main_norm;  // (R)

    // attention
    Real *q_in = nullptr, *k_in = nullptr,
         *v_in = nullptr;                           // before their norms, where they have one
    NormStats<Real> q_norm, k_norm, v_norm;         // per head: (R H), (R KV); full: (R)
    Real *q = nullptr, *k = nullptr, *v = nullptr;  // (R,H D), (R,KV D), after RoPE
    Real* context = nullptr;                        // (R,H D) what attention read
    Accum<Real>* lse = nullptr;                     // (B,H,T)

    // MLP
    Real *gate_in = nullptr, *up_in = nullptr;  // before their norms, where they have one
    NormStats<Real> gate_norm, up_norm;         // (R)
    Real *gate = nullptr, *up = nullptr;        // (R,F)
    Real* h = nullptr;                          // (R,F)
};

template <class Real>
struct Activations {
    int *tokens = nullptr, *targets = nullptr, *order = nullptr;  // (R); order: rows by token
    int* document = nullptr;  // (R) position at which the token's document begins; null: no mask
    Accum<Real>* rope = nullptr;              // (T,D)
    Real *embedded = nullptr, *x0 = nullptr;  // (R,C) before and after the embedding norm
    NormStats<Real> embedding_norm, final_norm;
    std::vector<SubLayerActivations<Real>> sublayers;
    Real* last = nullptr;  // (R,C) what the head reads
    Real* a = nullptr;     // (R,C) where there is no output norm: shared by all sub-layers

    // gradients, shared by all sub-layers; for training
    Real* d_hidden = nullptr;   // (R,C) of the hidden state that backward has come to
    Real* d_o = nullptr;        // (R,C) where a sub-layer has a main norm
    Real* d_a = nullptr;        // (R,C) where one has an output norm
    Real* d_x_tilde = nullptr;  // (R,C)
    Real *d_q = nullptr, *d_k = nullptr, *d_v = nullptr, *d_context = nullptr;
    Real *d_gate = nullptr, *d_up = nullptr;  // (R,F)
};

// Sets every view of the activations of B sequences of T tokens into the arena that begins at base,
// and returns the bytes they take. base null: only counts (--dry-run).
template <class Real>
size_t lay_out(Activations<Real>& views, const ModelConfig& config, int B, int T, Purpose purpose,
               void* base);

}  // namespace peri
