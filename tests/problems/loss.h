#pragma once

#include <bit>

#include "problem.h"

namespace peri {

struct HeadCase {
    int R, C, V;
    bool tuned = false;
    double z_loss = 0;
    float loss_scale = 0;  // 0: none
};

inline constexpr int padding = 3;  // rows of w beyond the vocabulary

// Every third row has no target, unless there is but one row.
inline std::vector<int> targets_of(HeadCase c, uint64_t seed) {
    Rng rng(seed, 99);
    std::vector<int> targets(c.R);
    for (int r = 0; r < c.R; r++) targets[r] = r % 3 == 1 ? -1 : static_cast<int>(rng.below(c.V));
    return targets;
}

// Forward only evaluates; backward computes the loss again, with its gradients.
template <class Real>
Problem<Real> head(HeadCase c, const std::vector<int>& target_list, double divisor, uint64_t seed) {
    Problem<Real> p("head_loss", {c.R, c.C, c.V}, seed);
    p.workspace(head_loss_workspace<Real>(c.R, c.V));
    if (c.tuned) head_loss_tune<Real>(c.R, c.C, c.V);
    p.offset = 1 / (divisor * c.V);
    // of log Z and z_target, of p and onehot: their difference may be 0
    p.least_scale = (c.loss_scale > 0 ? c.loss_scale : 1) / divisor;
    Real* const x = p.input("x", size_t(c.R) * c.C);
    Real* const w = p.input("w", size_t(c.V + padding) * c.C);
    const int* const targets = p.integers("targets", target_list);
    // a LossScale
    const int* const scale = p.integers("loss scale", {std::bit_cast<int>(c.loss_scale), 0, 0, 0});
    const auto* const loss_scale =
        c.loss_scale > 0 ? reinterpret_cast<const LossScale*>(scale) : nullptr;
    double* const loss = p.template accumulated_output<double>("loss", 1, c.R + c.C);
    p.template upstream<double>("loss");
    p.set("dloss", {1});
    double* const again =
        p.template accumulated_output<double>("loss again", 1, c.R + c.C, Stage::backward);
    Real* const dx = p.gradient("x", c.V);
    Accum<Real>* const dw = p.accumulated_gradient("w", c.R, size_t(c.V) * c.C);
    std::vector<double> padded = p.values("w");  // padding is never read: it may be NaN
    std::fill(padded.end() - padding * c.C, padded.end(), NAN);
    p.set("w", padded);
    p.forward = [=] {
        head_loss<Real>(loss, nullptr, nullptr, x, w, targets, loss_scale, c.R, c.C, c.V, divisor,
                        c.z_loss);
    };
    p.backward = [=] {
        head_loss<Real>(again, dx, dw, x, w, targets, loss_scale, c.R, c.C, c.V, divisor, c.z_loss);
    };
    return p;
}

template <class Real>
Problem<Real> head(HeadCase c, uint64_t seed) {
    return head<Real>(c, targets_of(c, seed), 0.7 * c.R, seed);
}

}  // namespace peri
