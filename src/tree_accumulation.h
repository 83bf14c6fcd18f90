// --reproducible: micro-batches added in a tree.
#pragma once

#include "model.h"

namespace peri {

// The same as forward_backward (accumulate.h), but what the micro-batches give is added in the order
// of tree.h, not one after the other: processes that share a step's micro-batches end with the bits
// of one process that has them all (--reproducible).
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
