#include "probe/spikes.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace peri {

namespace {

double median(std::vector<double> list) {
    std::sort(list.begin(), list.end());
    const size_t middle = list.size() / 2;
    return list.size() % 2 ? list[middle] : (list[middle - 1] + list[middle]) / 2;
}

}  // namespace

std::optional<double> SpikeWatch::after(double gradient_norm) {
    if (!std::isfinite(gradient_norm)) return {};
    std::optional<double> ratio;
    if (last_.size() == window) {
        ratio = gradient_norm / median({last_.begin(), last_.end()});
        last_.pop_front();
    }
    last_.push_back(gradient_norm);
    return ratio > threshold ? ratio : std::nullopt;
}

}  // namespace peri
