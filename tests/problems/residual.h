#pragma once

#include "problem.h"

namespace peri {

enum class Sum { apart, in_x, in_a };  // where y lies

// y = alpha x + relu(x): the smallest residual block. Backward is the same kernel at the join of
// the two gradients, dx = alpha dy + da.
template <class T>
Problem<T> residual(size_t n, double scale, uint64_t seed, Sum place = Sum::apart) {
    const Accum<T> alpha = static_cast<Accum<T>>(scale);
    Problem<T> p("residual", {static_cast<long>(n)}, seed);
    T* const x = p.input("x", n);
    T* const a = p.output("a", n, 1);
    T* const y = p.output("y", n, 1);
    T* const dy = p.upstream("y");
    T* const dx = p.gradient("x", 1);
    p.forward = [=] {
        relu_forward<T>(a, x, n);
        if (place != Sum::apart) copy<T>(y, place == Sum::in_x ? x : a, n);
        residual_add<T>(y, place == Sum::in_x ? y : x, place == Sum::in_a ? y : a, alpha, n);
    };
    p.backward = [=] {
        relu_backward<T>(dx, dy, x, n);
        residual_add<T>(dx, dy, dx, alpha, n);
    };
    return p;
}

}  // namespace peri
