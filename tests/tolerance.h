// What a number may be off by. A tolerance follows from the roundings on the way to the number: of a
// sum of n terms, in whatever order a compiler or a library adds them, at most n - 1 and those of
// the terms, relative to the sum of their magnitudes. Where a bound is statistical or measured, the
// test says so, with its factor. Tolerances leave room for TOLERANCE=0.5 in the environment, which
// halves all of them (but for 0, which stays): no test lives on the edge of what it allows.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <type_traits>

namespace peri {

// The factor on every tolerance: TOLERANCE in the environment, 1 without it.
inline double tolerance_factor() {
    static const double factor = [] {
        const char* const text = std::getenv("TOLERANCE");
        if (!text) return 1.0;
        char* end = nullptr;
        const double value = std::strtod(text, &end);
        if (end == text || *end != 0 || !(value > 0 && std::isfinite(value))) {
            std::fprintf(stderr, "TOLERANCE is '%s': give a number above 0, such as 0.5\n", text);
            std::exit(2);
        }
        return value;
    }();
    return factor;
}

// A tolerance t of an inequality that is written out: a <= b + allowed(t).
inline double allowed(double t) { return tolerance_factor() * t; }

// The part of a tolerance that no factor touches: what a format rounds, bf16 or printed digits. A
// right result errs by as much.
inline double of_format(double t) { return t / tolerance_factor(); }

// n roundings to the nearest number, each by up to half a unit in the last place, relative.
template <class Real = double>
constexpr double roundings(double n) {
    return n * (std::is_same_v<Real, double> ? 0x1p-53 : 0x1p-24);
}

// got == near(expected, t): |got - expected| <= t. NaN is near nothing.
struct Near {
    double expected, tolerance;
    friend bool operator==(double got, const Near& n) {
        return std::abs(got - n.expected) <= allowed(n.tolerance);
    }
    friend std::ostream& operator<<(std::ostream& out, const Near& n) {
        return out << n.expected << " within " << allowed(n.tolerance);
    }
};

inline Near near(double expected, double tolerance) { return {expected, tolerance}; }

// relative; without a tolerance: formulas of a few operations, some of them roots and logarithms
inline Near about(double expected, double relative = roundings(32)) {
    return {expected, relative * std::abs(expected)};
}

}  // namespace peri
