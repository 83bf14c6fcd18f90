// The learning rate of a step: linear warmup, then a decay (Table 2: 10 % warmup, cosine).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace peri {

enum class Decay { cosine, linear, constant, wsd };

struct Schedule {
    double peak = 2e-3;   // learning rate after warmup
    int64_t steps = 0;    // of the whole run
    double warmup = 0.1;  // share of the steps
    Decay decay = Decay::cosine;
    double lowest = 0;  // the final rate, as a share of peak
    // wsd (warmup, stable, decay): constant until the last 20 % of the steps, then linear
    static constexpr double wsd_decay = 0.2;
};

// step counts from 1 to s.steps; the last warmup step runs at the peak.
inline double learning_rate(const Schedule& s, int64_t step) {
    const double warmup = std::round(s.warmup * s.steps);
    if (step <= warmup) return s.peak * step / warmup;
    const double progress = (step - warmup) / std::max(1.0, s.steps - warmup);  // 0 .. 1
    double share = 1;
    switch (s.decay) {
        case Decay::cosine:
            share = 0.5 * (1 + std::cos(std::numbers::pi * progress));
            break;
        case Decay::linear:
            share = 1 - progress;
            break;
        case Decay::constant:
            return s.peak;
        case Decay::wsd:
            share = std::clamp((s.steps - step) / std::max(1.0, s.wsd_decay * s.steps), 0.0, 1.0);
            break;
    }
    return s.peak * (s.lowest + (1 - s.lowest) * share);
}

}  // namespace peri
