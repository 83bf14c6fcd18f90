// Steps on batches that are larger than the model's memory: micro-batches of `micro` sequences,
// one after the other, whose losses and gradients sum. However a batch is cut, its loss is the mean
// over the targets of all of it, so the divisor is their number and not a micro-batch's.
#pragma once

#include "model.h"

namespace peri {

// The batch, cut.
std::vector<Batch> micro_batches(const Batch& batch, int micro);

// Adds the batch's loss and its gradient to the model's, both divided by `divisor`; 0: by the number
// of the batch's targets, which makes the loss nats a target.
template <class Real>
void forward_backward(Model<Real>& model, const Batch& batch, int micro, double divisor = 0);

// Adds the batch's loss in nats, over all targets, to the model's.
template <class Real>
void forward_evaluate(Model<Real>& model, const Batch& batch, int micro);

}  // namespace peri
