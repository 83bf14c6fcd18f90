#pragma once

#include "problem.h"

namespace peri {

enum class Overwrite { nothing, gate, up };  // dgate or dup is dh

template <class Real>
Problem<Real> swiglu(size_t n, uint64_t seed, Overwrite dh_is = Overwrite::nothing) {
    Problem<Real> p("swiglu", {static_cast<long>(n)}, seed);
    Real* const gate = p.input("gate", n);
    Real* const up = p.input("up", n);
    Real* const h = p.output("h", n, 1);
    Real* const dh = p.upstream("h");
    Real* const dgate = p.gradient("gate", 1);
    Real* const dup = p.gradient("up", 1);
    p.forward = [=] { swiglu_forward<Real>(h, gate, up, n); };
    p.backward = [=] {
        Real* const place = dh_is == Overwrite::gate ? dgate : dh_is == Overwrite::up ? dup : dh;
        if (place != dh) copy<Real>(place, dh, n);
        swiglu_backward<Real>(dgate, dup, place, gate, up, n);
    };
    return p;
}

template <class Real>
Problem<Real> relu(size_t n, uint64_t seed, bool in_place = false) {
    Problem<Real> p("relu", {static_cast<long>(n)}, seed);
    Real* const x = p.input("x", n);
    Real* const h = p.output("h", n, 1);
    Real* const dh = p.upstream("h");
    Real* const dx = p.gradient("x", 1);
    p.forward = [=] { relu_forward<Real>(h, x, n); };
    p.backward = [=] {
        if (in_place) copy<Real>(dx, dh, n);
        relu_backward<Real>(dx, in_place ? dx : dh, x, n);
    };
    return p;
}

// |x| up to 30, all exact in bf16: silu's tails and its minimum
inline std::vector<double> wide_range(size_t n) {
    std::vector<double> result(n);
    for (size_t i = 0; i < n; i++) result[i] = bf16(-30 + 60.0f * static_cast<float>(i) / 128);
    return result;
}

}  // namespace peri
