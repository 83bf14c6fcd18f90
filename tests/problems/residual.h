#pragma once

#include "problem.h"

namespace peri {

// Where y lies; alone: apart, and a is an input.
enum class Sum { apart, in_x, in_a, alone };

// y = alpha x + relu(x): the smallest residual block. Backward is the same kernel at the join of
// the two gradients, dx = alpha dy + da.
template <class Real>
Problem<Real> residual(size_t n, double scale, uint64_t seed, Sum place = Sum::apart) {
    const Accum<Real> alpha = static_cast<Accum<Real>>(scale);
    Problem<Real> p("residual", {static_cast<long>(n)}, seed);
    Real* const x = p.input("x", n);
    if (place == Sum::alone) {
        Real* const a = p.input("a", n);
        Real* const y = p.output("y", n, 1);
        p.forward = [=] { residual_add<Real>(y, x, a, alpha, n); };
        return p;
    }
    Real* const a = p.output("a", n, 1);
    Real* const y = p.output("y", n, 1);
    Real* const dy = p.upstream("y");
    Real* const dx = p.gradient("x", 1);
    p.forward = [=] {
        relu_forward<Real>(a, x, n);
        if (place != Sum::apart) copy<Real>(y, place == Sum::in_x ? x : a, n);
        residual_add<Real>(y, place == Sum::in_x ? y : x, place == Sum::in_a ? y : a, alpha, n);
    };
    p.backward = [=] {
        relu_backward<Real>(dx, dy, x, n);
        residual_add<Real>(dx, dy, dx, alpha, n);
    };
    return p;
}

}  // namespace peri
