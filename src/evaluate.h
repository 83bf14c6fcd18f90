// --evaluate: the loss over the whole of a file, without an update.
#pragma once

#include <cstdint>
#include <functional>

#include "data.h"
#include "flags.h"
#include "model.h"

namespace peri {

struct Evaluation {
    int64_t tokens = 0;  // that were predicted
    double loss = 0;     // mean, in nats a token
};

// batch(0), batch(1), ... up to the first one without rows; `micro` sequences are computed at once.
template <class T>
Evaluation evaluate(Model<T>& model, const std::function<Batch(int64_t)>& batch, int micro);

// Evaluates the weights of --init-from over all of --data, or over the fixed validation set of the
// built-in stories, and prints loss, perplexity and bits. Throws UserError where the data does not
// suit the model, or the loss is not finite.
template <class T>
void print_evaluation(RunConfig run);

}  // namespace peri
