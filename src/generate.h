// Sampling from a model, a token at a time.
#pragma once

#include <vector>

#include "model.h"
#include "random.h"

namespace peri {

// Continues prompt (at least one token) by n tokens drawn from softmax(logits / temperature);
// temperature 0: the likeliest. The model sees as many of the latest tokens as its context holds.
template <class T>
std::vector<int> generate(Model<T>& model, std::vector<int> prompt, int n, double temperature,
                          int context, Rng rng);

}  // namespace peri
