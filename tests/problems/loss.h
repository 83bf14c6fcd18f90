#pragma once

#include "problem.h"

namespace peri {

struct HeadCase {
    int R, C, V;
    bool tuned = false;
    double z_loss = 0;
};

inline constexpr int padding = 3;  // rows of w beyond the vocabulary

// Every third row has no label, unless there is but one row.
inline std::vector<int> labels_of(HeadCase c, uint64_t seed) {
    Rng rng(seed, 99);
    std::vector<int> labels(c.R);
    for (int r = 0; r < c.R; r++) labels[r] = r % 3 == 1 ? -1 : static_cast<int>(rng.below(c.V));
    return labels;
}

// Forward only evaluates; backward computes the loss again, with its gradients.
template <class T>
Problem<T> head(HeadCase c, const std::vector<int>& label_list, double divisor, uint64_t seed) {
    Problem<T> p("head_loss", {c.R, c.C, c.V}, seed);
    p.workspace(head_loss_workspace<T>(c.R, c.V));
    if (c.tuned) head_loss_tune<T>(c.R, c.C, c.V);
    p.offset = 1 / (divisor * c.V);
    p.least_scale =
        1 / divisor;  // of log Z and z_label, of p and onehot: their difference may be 0
    T* const x = p.input("x", size_t(c.R) * c.C);
    T* const w = p.input("w", size_t(c.V + padding) * c.C);
    const int* const labels = p.integers("labels", label_list);
    double* const loss = p.template accumulated_output<double>("loss", 1, c.R + c.C);
    p.template upstream<double>("loss");
    p.set("dloss", {1});
    double* const again =
        p.template accumulated_output<double>("loss again", 1, c.R + c.C, Stage::backward);
    T* const dx = p.gradient("x", c.V);
    Accum<T>* const dw = p.accumulated_gradient("w", c.R, size_t(c.V) * c.C);
    std::vector<double> padded = p.values("w");  // padding is never read: it may be NaN
    std::fill(padded.end() - padding * c.C, padded.end(), NAN);
    p.set("w", padded);
    p.forward = [=] {
        head_loss<T>(loss, nullptr, nullptr, x, w, labels, c.R, c.C, c.V, divisor, c.z_loss);
    };
    p.backward = [=] {
        head_loss<T>(again, dx, dw, x, w, labels, c.R, c.C, c.V, divisor, c.z_loss);
    };
    return p;
}

template <class T>
Problem<T> head(HeadCase c, uint64_t seed) {
    return head<T>(c, labels_of(c, seed), 0.7 * c.R, seed);
}

}  // namespace peri
