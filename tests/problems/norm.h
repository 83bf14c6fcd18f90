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
template <class T>
struct Terms {
    Plus<T> forward, backward;

    Terms(Problem<T>& p, const NormCase& c) {
        if (c.alpha == 0) return;
        const Accum<T> alpha = static_cast<Accum<T>>(c.alpha);
        forward = {alpha, p.input("stream", size_t(c.R) * c.C)};
        backward = {alpha, p.input("stream_gradient", size_t(c.R) * c.C)};
    }
};

// Before a backward pass in place: dx takes the array that it stands for, dy or what is added.
template <class T>
void share_dx(const NormCase& c, T* dx, const T*& dy, Plus<T>& plus) {
    if (!c.in_place) return;
    const T*& shared = plus.z ? plus.z : dy;
    copy<T>(dx, shared, size_t(c.R) * c.C);
    shared = dx;
}

template <class T>
Problem<T> rmsnorm(NormCase c, uint64_t seed) {
    const size_t n = size_t(c.R) * c.C;
    Problem<T> p("rmsnorm", {c.R, c.C}, seed);
    if (c.C == 1) p.least_scale = 4.5;  // dx is what two terms of up to 1.5 1.5 / 0.5 leave
    p.workspace(norm_workspace<T>(c.C));
    T* const x = p.input("x", n);
    Accum<T>* const gamma = p.template input<Accum<T>>("gamma", c.C);
    T* const y = p.output("y", n, c.C);
    Accum<T>* const rstd = p.template output<Accum<T>>("rstd", c.R, c.C);
    const T* const dy = p.upstream("y");
    T* const dx = p.gradient("x", c.C);
    const Terms<T> terms(p, c);
    Accum<T>* const dgamma = c.dgamma ? p.accumulated_gradient("gamma", c.R) : nullptr;
    p.forward = [=] {
        rmsnorm_forward<T>(y, rstd, x, gamma, c.R, c.C, static_cast<Accum<T>>(c.eps),
                           terms.forward);
    };
    p.backward = [=] {
        const T* g = dy;
        Plus<T> plus = terms.backward;
        share_dx(c, dx, g, plus);
        rmsnorm_backward<T>(dx, dgamma, g, x, gamma, rstd, c.R, c.C, plus);
    };
    return p;
}

template <class T>
Problem<T> layernorm(NormCase c, uint64_t seed) {
    const size_t n = size_t(c.R) * c.C;
    Problem<T> p("layernorm", {c.R, c.C}, seed);
    p.workspace(norm_workspace<T>(c.C));
    T* const x = p.input("x", n);
    Accum<T>* const gamma = p.template input<Accum<T>>("gamma", c.C);
    Accum<T>* const beta = p.template input<Accum<T>>("beta", c.C);
    T* const y = p.output("y", n, c.C);
    Accum<T>* const mean = p.template output<Accum<T>>("mean", c.R, c.C);
    Accum<T>* const rstd = p.template output<Accum<T>>("rstd", c.R, c.C);
    const T* const dy = p.upstream("y");
    T* const dx = p.gradient("x", c.C);
    const Terms<T> terms(p, c);
    Accum<T>* const dgamma = c.dgamma ? p.accumulated_gradient("gamma", c.R) : nullptr;
    Accum<T>* const dbeta = c.dbeta ? p.accumulated_gradient("beta", c.R) : nullptr;
    p.forward = [=] {
        const Accum<T> eps = static_cast<Accum<T>>(c.eps);
        layernorm_forward<T>(y, mean, rstd, x, gamma, beta, c.R, c.C, eps, terms.forward);
    };
    p.backward = [=] {
        const T* g = dy;
        Plus<T> plus = terms.backward;
        share_dx(c, dx, g, plus);
        layernorm_backward<T>(dx, dgamma, dbeta, g, x, gamma, mean, rstd, c.R, c.C, plus);
    };
    return p;
}

}  // namespace peri
