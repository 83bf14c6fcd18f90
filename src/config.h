// The settings of a model and of a run: presets, defaults, validation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "choice.h"
#include "few_bits.h"
#include "placement.h"

namespace peri {

enum class Choice { automatic, on, off };  // automatic: what the placement's table row says

// How matrices start: kind, and the value after the colon.
struct Init {
    enum Kind { own, normal, xavier, width } kind = own;
    double value = 0.02;  // normal:S a standard deviation; d:K the K of a variance of K / width
};

// What backward computes again where it was not kept: nothing; x~ and the MLP's gate, up (where
// they are normalised) and h; all of a sub-layer but the hidden state behind it. The bits are the
// same.
enum class Recompute { none, norms, sublayers };

struct ModelConfig {
    int layers = 0, width = 0, heads = 0, kv_heads = 0, ffn = 0;  // of a Size
    int vocab = 256;                                              // bytes
    double rope_base = 10000, norm_eps = 1e-5;
    std::string norm = "peri";         // as the user wrote it
    std::vector<Placement> placement;  // one a layer, with --qk-norm already applied
    bool embedding_norm = true, final_norm = true, layernorm = false, freeze_output_gamma = false;
    Init init;
    double embedding_std = 0;  // the embedding's where it is not init's; 0: it is
    double state_scale = 1;  // what begins the hidden states so much larger, the function the same
    double z_loss = 0;  // weight of (log Z)^2 in what backward differentiates (kernels.h); 0: none
    FakeQuant fake_quant;
    Recompute recompute = Recompute::none;
    bool document_mask = false;  // attention stays inside a document
    int separator = 0;           // the token that begins a document: the end of the text before it

    int head_size() const { return width / heads; }
    int kv_width() const { return kv_heads * head_size(); }
    // rows of the embedding and the head: the vocabulary, padded to a multiple of 64
    int vocab_rows() const { return (vocab + 63) / 64 * 64; }
};

// A row of the table of sizes (design: the paper's Table 4 and three of ours).
struct Size {
    const char* name;
    int layers, width, heads, ffn, seq;
};
const std::vector<Size>& sizes();
const Size& find_size(const std::string& name);  // throws UserError
ModelConfig model_of(const Size& size);          // the rest at its defaults; not yet resolved

// Fills placement, embedding_norm and final_norm from norm and the three choices, and checks the
// shape. Throws UserError naming the flag, the value and the remedy.
void resolve(ModelConfig& config, const std::string& qk_norm, Choice embedding_norm,
             Choice final_norm);

// The token that ends a text in the tokenizers that have so many tokens, padded or not: bytes (0),
// gpt2, cl100k_base, o200k_base of tiktoken. -1: not known.
int end_of_text(int vocab);

// auto, normal:S, xavier, d:K, he, lecun. Throws UserError naming the flag.
Init parse_init(const std::string& text);

// none, or FORMAT[:WHERE],... such as int8:hidden,int4:weights. Throws UserError naming the flag.
FakeQuant parse_fake_quant(const std::string& text);

// The words of --embedding-norm and --final-norm, --qk-norm and --recompute.
const Choices<Choice>& automatic_on_off();
const Choices<QkNorm>& qk_norms();
const Choices<Recompute>& recomputes();

}  // namespace peri
