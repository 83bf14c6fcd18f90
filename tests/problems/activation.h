#pragma once

#include "problem.h"

namespace peri {

enum class Overwrite { nothing, gate, up };  // dgate or dup is dh

template <class T>
Problem<T> swiglu(size_t n, uint64_t seed, Overwrite dh_is = Overwrite::nothing) {
    Problem<T> p("swiglu", {static_cast<long>(n)}, seed);
    T* const gate = p.input("gate", n);
    T* const up = p.input("up", n);
    T* const h = p.output("h", n, 1);
    T* const dh = p.upstream("h");
    T* const dgate = p.gradient("gate", 1);
    T* const dup = p.gradient("up", 1);
    p.forward = [=] { swiglu_forward<T>(h, gate, up, n); };
    p.backward = [=] {
        T* const place = dh_is == Overwrite::gate ? dgate : dh_is == Overwrite::up ? dup : dh;
        if (place != dh) copy<T>(place, dh, n);
        swiglu_backward<T>(dgate, dup, place, gate, up, n);
    };
    return p;
}

template <class T>
Problem<T> relu(size_t n, uint64_t seed, bool in_place = false) {
    Problem<T> p("relu", {static_cast<long>(n)}, seed);
    T* const x = p.input("x", n);
    T* const h = p.output("h", n, 1);
    T* const dh = p.upstream("h");
    T* const dx = p.gradient("x", 1);
    p.forward = [=] { relu_forward<T>(h, x, n); };
    p.backward = [=] {
        if (in_place) copy<T>(dx, dh, n);
        relu_backward<T>(dx, in_place ? dx : dh, x, n);
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
