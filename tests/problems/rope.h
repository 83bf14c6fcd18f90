#pragma once

#include "problem.h"

namespace peri {

struct RopeCase {
    int B, T, H, D, first;
    bool in_place = false;  // y is x, dx is dy
};

inline constexpr double rope_base = 100;

// The table is computed in forward, by the kernel itself.
template <class Real>
Problem<Real> rope(RopeCase c, uint64_t seed) {
    Problem<Real> p("rope", {c.B, c.T, c.H, c.D, c.first}, seed);
    const size_t n = size_t(c.B) * c.T * c.H * c.D;
    const int positions = c.first + c.T;
    Real* const x = p.input("x", n);
    Accum<Real>* const table = p.template output<Accum<Real>>("table", size_t(positions) * c.D, 1);
    Real* const y = p.output("y", n, 2);
    Real* const dy = p.upstream("y");
    Real* const dx = p.gradient("x", 2);
    p.forward = [=] {
        rope_table<Real>(table, positions, c.D, rope_base);
        if (c.in_place) copy<Real>(y, x, n);
        rope_forward<Real>(y, c.in_place ? y : x, table, c.B, c.T, c.H, c.D, c.first);
    };
    p.backward = [=] {
        if (c.in_place) copy<Real>(dx, dy, n);
        rope_backward<Real>(dx, c.in_place ? dx : dy, table, c.B, c.T, c.H, c.D, c.first);
    };
    return p;
}

}  // namespace peri
