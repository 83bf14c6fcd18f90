#pragma once

#include "problem.h"

namespace peri {

struct LinearCase {
    int R, C, O;
    bool bias = true;
    Dx mode = Dx::overwrite;
    bool dx = true, dw = true, dbias = true;  // false: null
    bool tuned = false;
};

template <class T>
Problem<T> linear(LinearCase c, uint64_t seed) {
    const bool add = c.mode == Dx::add;
    Problem<T> p("linear", {c.R, c.C, c.O, c.bias, add}, seed);
    p.workspace(linear_workspace<T>());
    if (c.tuned) linear_tune<T>(c.R, c.C, c.O);
    T* const x = p.input("x", size_t(c.R) * c.C);
    T* const w = p.input("w", size_t(c.O) * c.C);
    Accum<T>* const bias = c.bias ? p.template input<Accum<T>>("bias", c.O) : nullptr;
    T* const y = p.output("y", size_t(c.R) * c.O, c.C);
    T* const dy = p.upstream("y");
    T* dx = nullptr;
    if (c.dx) dx = add ? p.template accumulated_gradient<T>("x", c.O) : p.gradient("x", c.O);
    Accum<T>* const dw = c.dw ? p.accumulated_gradient("w", c.R) : nullptr;
    Accum<T>* const dbias = c.bias && c.dbias ? p.accumulated_gradient("bias", c.R) : nullptr;
    p.forward = [=] { linear_forward<T>(y, x, w, bias, c.R, c.C, c.O); };
    p.backward = [=] { linear_backward<T>(dx, dw, dbias, dy, x, w, c.R, c.C, c.O, c.mode); };
    return p;
}

}  // namespace peri
