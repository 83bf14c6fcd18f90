// Small models that several tests use.
#pragma once

#include <cmath>
#include <vector>

#include "model.h"

namespace peri {

// Peri-LN, width 8, 61 tokens.
inline ModelConfig small_config(int layers) {
    ModelConfig c;
    c.layers = layers;
    c.width = 8;
    c.heads = c.kv_heads = 2;
    c.ffn = 12;
    c.vocab = 61;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

// Weights of standard deviation 1 / sqrt(fan-in), gammas in [0.5, 1.5], betas in [-0.5, 0.5]: no
// gradient is small by accident, and every token matters to every later one.
template <class Real>
void randomise(Model<Real>& model, uint64_t seed) {
    const std::vector<Tensor>& rows = model.table().rows;
    for (int id = 0; id < static_cast<int>(rows.size()); id++) {
        Rng rng(seed, id);
        std::vector<double> values(rows[id].size());
        for (double& v : values)
            v = rows[id].is_matrix() ? rng.normal() / std::sqrt(rows[id].cols)
                                     : rows[id].mean + rng.uniform() - 0.5;
        model.set_values(id, values);
    }
}

}  // namespace peri
