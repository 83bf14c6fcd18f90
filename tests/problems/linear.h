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

template <class Real>
Problem<Real> linear(LinearCase c, uint64_t seed) {
    const bool add = c.mode == Dx::add;
    Problem<Real> p("linear", {c.R, c.C, c.O, c.bias, add}, seed);
    p.workspace(linear_workspace<Real>());
    if (c.tuned) linear_tune<Real>(c.R, c.C, c.O);
    Real* const x = p.input("x", size_t(c.R) * c.C);
    Real* const w = p.input("w", size_t(c.O) * c.C);
    Accum<Real>* const bias = c.bias ? p.template input<Accum<Real>>("bias", c.O) : nullptr;
    Real* const y = p.output("y", size_t(c.R) * c.O, c.C);
    Real* const dy = p.upstream("y");
    Real* dx = nullptr;
    if (c.dx) dx = add ? p.template accumulated_gradient<Real>("x", c.O) : p.gradient("x", c.O);
    Accum<Real>* const dw = c.dw ? p.accumulated_gradient("w", c.R) : nullptr;
    Accum<Real>* const dbias = c.bias && c.dbias ? p.accumulated_gradient("bias", c.R) : nullptr;
    p.forward = [=] { linear_forward<Real>(y, x, w, bias, c.R, c.C, c.O); };
    p.backward = [=] { linear_backward<Real>(dx, dw, dbias, dy, x, w, c.R, c.C, c.O, c.mode); };
    return p;
}

}  // namespace peri
