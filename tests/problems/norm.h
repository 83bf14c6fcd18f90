#pragma once

#include "problem.h"

namespace peri {

struct NormCase {
    int R, C;
    double eps;
    bool in_place = false;             // dx is dy, or what is added
    bool dgamma = true, dbeta = true;  // false: null
    double alpha = 0;                  // of what is added; 0: nothing
};

// What is added to y, and to dx.
template <class Real>
struct Terms {
    Plus<Real> forward, backward;

    Terms(Problem<Real>& p, const NormCase& c) {
        if (c.alpha == 0) return;
        const Accum<Real> alpha = static_cast<Accum<Real>>(c.alpha);
        forward = {alpha, p.input("stream", size_t(c.R) * c.C)};
        backward = {alpha, p.input("stream_gradient", size_t(c.R) * c.C)};
    }
};

// Before a backward pass in place: dx takes the array that it stands for, dy or what is added.
template <class Real>
void share_dx(const NormCase& c, Real* dx, const Real*& dy, Plus<Real>& plus) {
    if (!c.in_place) return;
    const Real*& shared = plus.z ? plus.z : dy;
    copy<Real>(dx, shared, size_t(c.R) * c.C);
    shared = dx;
}

template <class Real>
Problem<Real> rmsnorm(NormCase c, uint64_t seed) {
    const size_t n = size_t(c.R) * c.C;
    Problem<Real> p("rmsnorm", {c.R, c.C}, seed);
    if (c.C == 1) p.least_scale = 4.5;  // dx is what two terms of up to 1.5 1.5 / 0.5 leave
    p.workspace(norm_workspace<Real>(c.C));
    Real* const x = p.input("x", n);
    Accum<Real>* const gamma = p.template input<Accum<Real>>("gamma", c.C);
    Real* const y = p.output("y", n, c.C);
    Accum<Real>* const rstd = p.template output<Accum<Real>>("rstd", c.R, c.C);
    const Real* const dy = p.upstream("y");
    Real* const dx = p.gradient("x", c.C);
    const Terms<Real> terms(p, c);
    Accum<Real>* const dgamma = c.dgamma ? p.accumulated_gradient("gamma", c.R) : nullptr;
    p.forward = [=] {
        rmsnorm_forward<Real>(y, rstd, x, gamma, c.R, c.C, static_cast<Accum<Real>>(c.eps),
                              terms.forward);
    };
    p.backward = [=] {
        const Real* g = dy;
        Plus<Real> plus = terms.backward;
        share_dx(c, dx, g, plus);
        rmsnorm_backward<Real>(dx, dgamma, g, x, gamma, rstd, c.R, c.C, plus);
    };
    return p;
}

template <class Real>
Problem<Real> layernorm(NormCase c, uint64_t seed) {
    const size_t n = size_t(c.R) * c.C;
    Problem<Real> p("layernorm", {c.R, c.C}, seed);
    p.workspace(norm_workspace<Real>(c.C));
    Real* const x = p.input("x", n);
    Accum<Real>* const gamma = p.template input<Accum<Real>>("gamma", c.C);
    Accum<Real>* const beta = p.template input<Accum<Real>>("beta", c.C);
    Real* const y = p.output("y", n, c.C);
    Accum<Real>* const mean = p.template output<Accum<Real>>("mean", c.R, c.C);
    Accum<Real>* const rstd = p.template output<Accum<Real>>("rstd", c.R, c.C);
    const Real* const dy = p.upstream("y");
    Real* const dx = p.gradient("x", c.C);
    const Terms<Real> terms(p, c);
    Accum<Real>* const dgamma = c.dgamma ? p.accumulated_gradient("gamma", c.R) : nullptr;
    Accum<Real>* const dbeta = c.dbeta ? p.accumulated_gradient("beta", c.R) : nullptr;
    p.forward = [=] {
        const Accum<Real> eps = static_cast<Accum<Real>>(c.eps);
        layernorm_forward<Real>(y, mean, rstd, x, gamma, beta, c.R, c.C, eps, terms.forward);
    };
    p.backward = [=] {
        const Real* g = dy;
        Plus<Real> plus = terms.backward;
        share_dx(c, dx, g, plus);
        layernorm_backward<Real>(dx, dgamma, dbeta, g, x, gamma, mean, rstd, c.R, c.C, plus);
    };
    return p;
}

}  // namespace peri
