// What the tests of the whole model run: cases, batches, and the loss and gradients of one.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "accumulate.h"
#include "model.h"
#include "models.h"
#include "random.h"

namespace peri {

// What a test of the model is run with, and its name in failures.
struct ModelCase {
    std::string norm;
    std::string qk_norm = "auto";
    Choice embedding_norm = Choice::automatic, final_norm = Choice::automatic;
    bool layernorm = false, freeze = false, grouped = false;
    double eps = 1e-5, z_loss = 0;
    bool documents = false;

    std::string name() const {
        const auto word = [](Choice c) {
            return c == Choice::automatic ? "auto" : c == Choice::on ? "on" : "off";
        };
        return norm + " qk-norm " + qk_norm + " embedding-norm " + word(embedding_norm) +
               " final-norm " + word(final_norm) + (layernorm ? " layernorm" : "") +
               (freeze ? " frozen gamma" : "") + (grouped ? " grouped heads" : "") +
               (z_loss > 0 ? " z-loss" : "") + (documents ? " documents" : "");
    }

    // Odd on purpose: no width is a multiple of 8, the vocabulary is padded.
    ModelConfig config() const {
        ModelConfig c;
        c.norm = norm;
        c.layers = 2;
        c.width = 12;
        c.heads = 2;
        c.kv_heads = grouped ? 1 : 2;
        c.ffn = 19;
        c.vocab = 17;
        c.norm_eps = eps;
        c.z_loss = z_loss;
        c.layernorm = layernorm;
        c.freeze_output_gamma = freeze;
        c.document_mask = documents;
        c.separator = 3;
        resolve(c, qk_norm, embedding_norm, final_norm);
        return c;
    }
};

constexpr int B = 2, T = 5, untargeted[] = {3, 7}, targeted = 8;
constexpr int separators[] = {2, 5, 8,
                              9};  // the rows at which documents begin, where there are any

inline Batch random_batch(int vocab, uint64_t seed) {
    Rng rng(seed);
    Batch batch{B, T, {}, {}};
    for (int i = 0; i < B * T; i++) {
        batch.tokens.push_back(static_cast<int>(rng.below(vocab)));
        batch.targets.push_back(static_cast<int>(rng.below(vocab)));
    }
    for (const int r : untargeted) batch.targets[r] = -1;
    return batch;
}

// z_loss (log Z)^2 / targeted, summed over the rows with a target; after forward
inline double z_term(const Model<double>& model) {
    const size_t C = model.config().width;
    const std::vector<double> x = model.hidden_state(model.sublayer_count() + 1);
    const std::vector<double> head = model.values(model.table().head);
    double sum = 0;
    for (int r = 0; r < B * T; r++) {
        if (r == untargeted[0] || r == untargeted[1]) continue;
        double Z = 0;
        for (int v = 0; v < model.config().vocab; v++) {
            double logit = 0;
            for (size_t c = 0; c < C; c++) logit += x[r * C + c] * head[v * C + c];
            Z += std::exp(logit);
        }
        sum += std::log(Z) * std::log(Z);
    }
    return model.config().z_loss * sum / targeted;
}

// All that backward differentiates.
inline double loss_of(Model<double>& model) {
    model.zero_loss();
    model.forward();
    model.evaluate(targeted);
    return model.loss() + z_term(model);
}

inline std::vector<std::vector<double>> gradients_of(Model<double>& model) {
    model.zero_loss();
    model.zero_gradients();
    model.forward();
    model.backward(targeted);
    std::vector<std::vector<double>> gradients;
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        gradients.push_back(model.gradient(id) ? model.gradient_values(id) : std::vector<double>{});
    return gradients;
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
    return sum;
}

}  // namespace peri
