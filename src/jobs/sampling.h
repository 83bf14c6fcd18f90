// How the next token is chosen from a model's logits.
#pragma once

#include <vector>

#include "random.h"
#include "run/run_config.h"

namespace peri {

// p = softmax(logits / temperature) over the tokens that top_k and top_p leave, 0 elsewhere. Of
// equal logits the token with the lower number comes first. At least one token is left.
//   logits (V), finite: throws UserError where they are not
std::vector<double> next_token_probabilities(const std::vector<double>& logits,
                                             const Sampling& sampling);

// A token drawn with probability p.
int draw(const std::vector<double>& p, Rng& rng);

}  // namespace peri
