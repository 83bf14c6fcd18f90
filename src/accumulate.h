// Steps on batches that are larger than the model's memory: micro-batches of `micro` sequences,
// one after the other, whose losses and gradients sum. However a batch is cut, its loss is the mean
// over the labels of all of it, so the divisor is their number and not a micro-batch's.
#pragma once

#include "model.h"

namespace peri {

// Adds the batch's loss, in nats a label, and its gradient to the model's.
template <class T>
void forward_backward(Model<T>& model, const Batch& batch, int micro);

// Adds the batch's loss in nats, over all labels, to the model's.
template <class T>
void forward_evaluate(Model<T>& model, const Batch& batch, int micro);

}  // namespace peri
