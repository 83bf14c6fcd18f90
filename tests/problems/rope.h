#pragma once

#include "problem.h"

namespace peri {

struct RopeCase {
    int B, T, H, D, first;
    bool in_place = false;  // y is x, dx is dy
};

inline constexpr double rope_base = 100;

// The table is computed in forward, by the kernel itself.
template <class T>
Problem<T> rope(RopeCase c, uint64_t seed) {
    Problem<T> p("rope", {c.B, c.T, c.H, c.D, c.first}, seed);
    const size_t n = size_t(c.B) * c.T * c.H * c.D;
    const int positions = c.first + c.T;
    T* const x = p.input("x", n);
    Accum<T>* const table = p.template output<Accum<T>>("table", size_t(positions) * c.D, 1);
    T* const y = p.output("y", n, 2);
    T* const dy = p.upstream("y");
    T* const dx = p.gradient("x", 2);
    p.forward = [=] {
        rope_table<T>(table, positions, c.D, rope_base);
        if (c.in_place) copy<T>(y, x, n);
        rope_forward<T>(y, c.in_place ? y : x, table, c.B, c.T, c.H, c.D, c.first);
    };
    p.backward = [=] {
        if (c.in_place) copy<T>(dx, dy, n);
        rope_backward<T>(dx, c.in_place ? dx : dy, table, c.B, c.T, c.H, c.D, c.first);
    };
    return p;
}

}  // namespace peri
