#include "run/sparkline.h"

#include <algorithm>
#include <cmath>

namespace peri {

namespace {

constexpr size_t most = 256;

}  // namespace

void Sparkline::add(double value) {
    if (left_ == 0) {
        if (means_.size() == most) {
            for (size_t i = 0; i < most / 2; i++) {
                const Mean a = means_[2 * i], b = means_[2 * i + 1];
                means_[i] = {a.sum + b.sum, a.count + b.count};
            }
            means_.resize(most / 2);
            each_ *= 2;
        }
        means_.push_back({});
        left_ = each_;
    }
    left_--;
    if (!std::isfinite(value)) return;
    means_.back().sum += value;
    means_.back().count++;
}

std::string Sparkline::text(size_t width) const {
    const size_t letters = std::min(width, means_.size());
    std::vector<double> shown;
    for (size_t i = 0; i < letters; i++) {
        Mean all;
        for (size_t k = i * means_.size() / letters; k < (i + 1) * means_.size() / letters; k++) {
            all.sum += means_[k].sum;
            all.count += means_[k].count;
        }
        shown.push_back(all.count ? all.sum / all.count : NAN);
    }
    double low = INFINITY, high = -INFINITY;
    for (const double v : shown)
        if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
    static const char* const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    std::string text;
    for (const double v : shown)
        text += !std::isfinite(v) ? " "
                : high == low     ? bars[0]
                              : bars[std::min(7, static_cast<int>(8 * (v - low) / (high - low)))];
    return text;
}

}  // namespace peri
