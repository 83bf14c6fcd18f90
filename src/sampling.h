// How the next token is chosen from a model's logits.
#pragma once

#include <vector>

#include "random.h"

namespace peri {

struct Sampling {
    double temperature = 0.8;  // 0: the likeliest token
    int top_k = 0;             // only the so many likeliest; 0: all
    double top_p = 1;          // of those the fewest likeliest that hold this share of probability
    int stop_at = -1;          // a token before which the text ends; -1: none
};

// p = softmax(logits / temperature) over the tokens that top_k and top_p leave, 0 elsewhere. Of
// equal logits the token with the lower number comes first. At least one token is left.
//   logits (V), finite: throws UserError where they are not
std::vector<double> next_token_probabilities(const std::vector<double>& logits,
                                             const Sampling& sampling);

// A token drawn with probability p.
int draw(const std::vector<double>& p, Rng& rng);

}  // namespace peri
