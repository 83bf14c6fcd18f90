#pragma once

#include "problem.h"

namespace peri {

inline constexpr int steps = 5;
inline constexpr double scale_of_clip = 0.25;

// The weights that a kernel is given. `exact` is w, or master where Real has masters; then w is only
// written.
template <class Real>
struct Weights {
    Real* w;
    Accum<Real>* master;

    Weights(Problem<Real>& p, Accum<Real>* exact) {
        if constexpr (has_masters<Real>) {
            master = exact;
            w = p.output("rounded w", p.slot("w").n, steps);
        } else {
            master = nullptr;
            w = exact;
        }
    }

    // those of a problem that has been made
    explicit Weights(const Problem<Real>& p) {
        Accum<Real>* const exact = p.template at<Accum<Real>>("w");
        if constexpr (has_masters<Real>)
            master = exact, w = p.template at<Real>("rounded w");
        else
            master = nullptr, w = exact;
    }
};

// So many steps on the same gradients from m = v = 0; w is in and out, as its accumulated role
// says.
template <class Real>
Problem<Real> adamw(size_t n, AdamW settings, uint64_t seed, int count = steps) {
    using A = Accum<Real>;
    Problem<Real> p("adamw", {static_cast<long>(n)}, seed);
    A* const g = p.template input<A>("g", n);
    A* const scale = p.template input<A>("scale", 1);
    p.set("scale", {scale_of_clip});
    A* const exact = p.template accumulated_output<A>("w", n, steps);
    A* const m = p.template output<A>("m", n, steps);
    A* const v = p.template output<A>("v", n, steps);
    const Weights<Real> weights(p, exact);
    p.forward = [=] {
        device_zero<Real>(m, n * sizeof(A));
        device_zero<Real>(v, n * sizeof(A));
        AdamW now = settings;
        for (now.step = 1; now.step <= count; now.step++)
            adamw_update<Real>(weights.w, weights.master, m, v, g, scale, n, now);
    };
    return p;
}

template <class Real>
Problem<Real> sgd(size_t n, Sgd settings, uint64_t seed, int count = steps) {
    using A = Accum<Real>;
    Problem<Real> p("sgd", {static_cast<long>(n)}, seed);
    A* const g = p.template input<A>("g", n);
    A* const scale = p.template input<A>("scale", 1);
    p.set("scale", {scale_of_clip});
    A* const exact = p.template accumulated_output<A>("w", n, steps);
    A* const m = p.template output<A>("m", n, steps);
    const Weights<Real> weights(p, exact);
    p.forward = [=] {
        device_zero<Real>(m, n * sizeof(A));
        for (int step = 1; step <= count; step++)
            sgd_update<Real>(weights.w, weights.master, m, g, scale, n, settings);
    };
    return p;
}

inline const AdamW usual{0.01, 0.9, 0.95, 1e-3, 0.1, 0};
inline const AdamW undecayed{0.1, 0.8, 0.999, 1e-8, 0, 0};
inline const Sgd with_momentum{0.1, 0.9, 0.01}, plain{0.1, 0, 0};

template <class Real>
Problem<Real> squares(size_t n, uint64_t seed) {
    using A = Accum<Real>;
    Problem<Real> p("sum_of_squares", {static_cast<long>(n)}, seed);
    A* const g = p.template input<A>("g", n);
    std::vector<double> all_bits = p.values("g");  // so that sums in another order differ
    for (double& value : all_bits) value = static_cast<float>(value / 3);
    p.set("g", all_bits);
    double* const sums =
        p.template output<double>("sums", square_blocks(n), std::min(n, square_block));
    p.forward = [=] { sum_of_squares<Real>(sums, g, n); };
    return p;
}

template <class Real>
Problem<Real> clip(const std::vector<double>& sum_values, double max_norm) {
    Problem<Real> p("clip_scale", {static_cast<long>(sum_values.size())}, 1);
    const size_t blocks = sum_values.size();
    double* const sums = p.template input<double>("sums", blocks);
    p.set("sums", sum_values);
    double* const norm = p.template output<double>("norm", 1, 1);
    Accum<Real>* const scale = p.template output<Accum<Real>>("scale", 1, 1);
    p.forward = [=] { clip_scale<Real>(norm, scale, nullptr, sums, blocks, max_norm); };
    return p;
}

}  // namespace peri
