// A series as a few letters: ▇▆▄▃▂▁▁
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace peri {

// Numbers as they come, in bounded memory: neighbours are averaged as they grow many.
class Sparkline {
  public:
    void add(double value);  // what is not a number leaves a gap
    // At most so many letters, each three bytes of UTF-8, between the smallest and the largest mean.
    std::string text(size_t width) const;

  private:
    struct Mean {
        double sum = 0;
        int count = 0;
    };
    std::vector<Mean> means_;  // each of so many numbers, but for the last
    int each_ = 1, left_ = 0;  // left: that the last takes
};

}  // namespace peri
