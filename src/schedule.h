// The learning rate of a step: linear warmup, then a decay (Table 2: 10 % warmup, cosine).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "choice.h"

namespace peri {

enum class Decay { cosine, linear, constant, wsd, exponential };

inline const Choices<Decay>& decays() {
    static const Choices<Decay> choices = {{"cosine", Decay::cosine},
                                           {"linear", Decay::linear},
                                           {"constant", Decay::constant},
                                           {"wsd", Decay::wsd},
                                           {"exponential", Decay::exponential}};
    return choices;
}

struct Schedule {
    double max_lr = 4e-3;  // after warmup
    int64_t steps = 200;   // of the whole run
    double warmup = 0.1;   // share of the steps
    Decay decay = Decay::cosine;
    double min_lr = 0;  // at the end, as a share of max_lr, above 1 it rises; constant has no use
    // wsd (warmup, stable, decay): constant until the last 20 % of the steps, or what warmup leaves, then linear
    static constexpr double wsd_decay = 0.2;
};

// step counts from 1 to s.steps; the last warmup step runs at max_lr.
inline double learning_rate(const Schedule& s, int64_t step) {
    const double warmup = std::round(s.warmup * s.steps);
    if (step <= warmup) return s.max_lr * step / warmup;
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
            return s.max_lr;
        case Decay::exponential:
            return s.max_lr * std::pow(s.min_lr, progress);
        case Decay::wsd:
            share = std::clamp(
                (s.steps - step) / std::max(1.0, std::min(s.wsd_decay * s.steps, s.steps - warmup)),
                0.0, 1.0);
            break;
    }
    return s.max_lr * (s.min_lr + (1 - s.min_lr) * share);
}

}  // namespace peri
