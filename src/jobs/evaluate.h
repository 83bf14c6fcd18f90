// The loss without an update: of held-out batches while training, and with --evaluate of a whole file.
#pragma once

#include <cstdint>
#include <functional>

#include "data/data.h"
#include "model.h"
#include "run/run_config.h"

namespace peri {

struct Evaluation {
    int64_t tokens = 0;  // that were predicted
    double loss = 0;     // mean, in nats a token
};

// batch(0), batch(1), ... up to the first one without rows; `micro` sequences are computed at once. Several
// processes (comm.h) take them in turn: the same bits, and the result on all.
template <class Real>
Evaluation evaluate(Model<Real>& model, const std::function<Batch(int64_t)>& batch, int micro);

// What training reports as validation: the mean loss over the same --val-batches held-out steps'
// worth of sequences each time.
template <class Real>
double validation_loss(Model<Real>& model, const Data& data, const RunConfig& run);

// Evaluates the weights of --init-from over all of --data, or over the fixed validation set of the
// built-in stories, and prints loss, perplexity and bits. Throws UserError where the data does not
// suit the model, or the loss is not finite.
template <class Real>
void print_evaluation(RunConfig run);

}  // namespace peri
