#pragma once

#include "problem.h"

namespace peri {

// y = what the format holds of x; in_place: y begins as x, and is rounded where it lies
template <class Real>
Problem<Real> quantised(int R, int C, FewBits format, bool in_place, uint64_t seed) {
    Problem<Real> p("quantise", {R, C, static_cast<long>(format)}, seed);
    const size_t n = size_t(R) * C;
    p.workspace(quantise_workspace(R));
    Real* const x = p.input("x", n);
    Real* const y = p.output("y", n, 1);
    p.forward = [=] {
        if (in_place) copy<Real>(y, x, n);
        quantise<Real>(y, in_place ? y : x, R, C, format);
    };
    return p;
}

}  // namespace peri
