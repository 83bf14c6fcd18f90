// When a run has diverged, and where it shows (Figure 4; Section 4.1).
#pragma once

#include <cstdint>
#include <string>

#include "model.h"

namespace peri {

class DivergenceWatch {
  public:
    // vocab V and the number of steps of warmup, while a high loss means nothing.
    DivergenceWatch(int vocab, int64_t warmup_steps);

    // What has gone wrong by this step, "" if nothing has: the loss or the gradient norm is not
    // finite, or the loss has been above ln V + 1, worse than knowing nothing, for 50 steps. With a loss scale, which
    // halves where the gradient norm is not finite, that may be so for 50 steps.
    std::string after(int64_t step, double loss, double gradient_norm, bool scaled = false);

  private:
    double limit_;
    int64_t warmup_steps_;
    int above_ = 0, skipped_ = 0;  // steps in a row
};

// The largest |x| of the hidden state and the sub-layer behind which it is, NaN before any number; of fp16 the first
// sub-layer behind which, or inside of which, a number is beyond its largest, where there is one. After forward.
template <class Real>
std::string largest_hidden_state(const Model<Real>& model);

}  // namespace peri
