// Spikes of the global gradient norm (Figure 4; Section 4.3).
#pragma once

#include <cstddef>
#include <deque>
#include <optional>

namespace peri {

class SpikeWatch {
  public:
    static constexpr size_t window = 20;    // steps
    static constexpr double threshold = 3;  // times their median

    // The gradient norm of the next step. If it is a spike, above 3 times the median of the 20 norms
    // before it: how many times. Nothing while there are fewer. A norm that is not finite is
    // divergence (divergence.h): no spike, and not remembered.
    std::optional<double> after(double gradient_norm);

  private:
    std::deque<double> last_;  // norms
};

}  // namespace peri
