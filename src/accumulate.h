// Steps on batches that are larger than the model's memory: micro-batches of `micro` sequences,
// one after the other, whose losses and gradients sum. However a batch is cut, its loss is the mean
// over the targets of all of it, so the divisor is their number and not a micro-batch's.
#pragma once

#include "model.h"

namespace peri {

// Adds the batch's loss and its gradient to the model's, both divided by `divisor`; 0: by the number
// of the batch's targets, which makes the loss nats a target.
template <class Real>
void forward_backward(Model<Real>& model, const Batch& batch, int micro, double divisor = 0);

// Adds the batch's loss in nats, over all targets, to the model's.
template <class Real>
void forward_evaluate(Model<Real>& model, const Batch& batch, int micro);

// The same as forward_backward, but what the micro-batches give is added in the order of tree.h, not
// one after the other: processes that share a step's micro-batches end with the bits of one process
// that has them all (--reproducible).
template <class Real>
class TreeAccumulation {
  public:
    // For batches of up to so many micro-batches.
    TreeAccumulation(const Model<Real>& model, int micro_batches);

    // Afterwards the batch's gradient is the model's, whatever that was before. Returns the loss.
    double forward_backward(Model<Real>& model, const Batch& batch, int micro, double divisor);

    // Gradients that are held beside the model's.
    static int buffers(int micro_batches);

  private:
    struct Sum {  // of 2^k micro-batches
        Arena<Real> gradients;
        double loss = 0;
    };
    double add(Model<Real>& model, double loss, int k) const;

    std::vector<Sum> sums_;  // by k
};

}  // namespace peri
