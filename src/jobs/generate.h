// Sampling from a model, a token at a time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "jobs/sampling.h"
#include "model.h"
#include "run/run_config.h"

namespace peri {

// Reads a sequence piece by piece. The keys and values of what was read stay in the model, so that
// a piece costs its own tokens only. When the next piece does not fit into the model's context, the
// latest half of a context, the piece included, is read anew from position 0; what came before it
// is forgotten. So the logits are always those of the full forward pass over some latest tokens.
template <class Real>
class Decoder {
  public:
    explicit Decoder(Model<Real>& model) : model_(model) {}

    // logits (V) of the token after these
    std::vector<double> feed(const std::vector<int>& tokens);

  private:
    Model<Real>& model_;
    std::vector<int> seen_;  // the tokens at positions 0 .. of the model
};

// Continues prompt (at least one token) by n tokens, or up to sampling.stop_at; `each` is told every
// one as it is drawn.
template <class Real>
std::vector<int> generate(
    Model<Real>& model, std::vector<int> prompt, int n, const Sampling& sampling, Rng rng,
    const std::function<void(int)>& each = [](int) {});

// --generate: the prompt and its continuation on stdout, and nothing else.
template <class Real>
void print_generated(RunConfig run);

}  // namespace peri
