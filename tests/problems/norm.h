#pragma once

#include "problem.h"

namespace peri {

struct NormCase {
    int R, C;
    double eps;
    bool in_place = false;             // dx is dy
    bool dgamma = true, dbeta = true;  // false: null
};

template <class T>
Problem<T> rmsnorm(NormCase c, uint64_t seed) {
    const size_t n = size_t(c.R) * c.C;
    Problem<T> p("rmsnorm", {c.R, c.C}, seed);
    p.workspace(norm_workspace<T>(c.C));
    T* const x = p.input("x", n);
    Accum<T>* const gamma = p.template input<Accum<T>>("gamma", c.C);
    T* const y = p.output("y", n, c.C);
    Accum<T>* const rstd = p.template output<Accum<T>>("rstd", c.R, c.C);
    T* const dy = p.upstream("y");
    T* const dx = p.gradient("x", c.C);
    Accum<T>* const dgamma = c.dgamma ? p.accumulated_gradient("gamma", c.R) : nullptr;
    p.forward = [=] {
        rmsnorm_forward<T>(y, rstd, x, gamma, c.R, c.C, static_cast<Accum<T>>(c.eps));
    };
    p.backward = [=] {
        if (c.in_place) copy<T>(dx, dy, n);
        rmsnorm_backward<T>(dx, dgamma, c.in_place ? dx : dy, x, gamma, rstd, c.R, c.C);
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
    T* const dy = p.upstream("y");
    T* const dx = p.gradient("x", c.C);
    Accum<T>* const dgamma = c.dgamma ? p.accumulated_gradient("gamma", c.R) : nullptr;
    Accum<T>* const dbeta = c.dbeta ? p.accumulated_gradient("beta", c.R) : nullptr;
    p.forward = [=] {
        const Accum<T> eps = static_cast<Accum<T>>(c.eps);
        layernorm_forward<T>(y, mean, rstd, x, gamma, beta, c.R, c.C, eps);
    };
    p.backward = [=] {
        if (c.in_place) copy<T>(dx, dy, n);
        layernorm_backward<T>(dx, dgamma, dbeta, c.in_place ? dx : dy, x, gamma, mean, rstd, c.R,
                              c.C);
    };
    return p;
}

}  // namespace peri
