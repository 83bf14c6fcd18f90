// Comparators of the tests. Each returns what is wrong in words, "" when nothing is, so that a test
// reads CHECK(difference(...) == "") and a failure shows entry, value and expectation. All are
// written so that NaN fails: !(error <= tolerance). tests/test_compare.cpp tests them in turn.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>
#include <vector>

#include "real.h"

#include "tolerance.h"

namespace peri {

// largest |value|; NaN if there is one
inline double largest(const std::vector<double>& values) {
    double result = 0;
    for (const double v : values) {
        if (std::isnan(v)) return v;
        result = std::max(result, std::abs(v));
    }
    return result;
}

inline std::string describe(size_t index, double got, double expected, double tolerance) {
    char line[200];
    std::snprintf(line, sizeof line, "entry %zu: got %.17g, expected %.17g, error %.3g > %.3g",
                  index, got, expected, std::abs(got - expected), tolerance);
    return line;
}

// |got - expected| <= tolerance in every entry, tolerances times the factor of tolerance.h; reports
// the first failure and how many there are
inline std::string difference(const std::vector<double>& got, const std::vector<double>& expected,
                              const std::vector<double>& tolerance) {
    if (got.size() != expected.size())
        return "got " + std::to_string(got.size()) + " entries, expected " +
               std::to_string(expected.size());
    std::string first;
    size_t failures = 0;
    for (size_t i = 0; i < got.size(); i++) {
        const double error = std::abs(got[i] - expected[i]);
        if (!(error <= allowed(tolerance[i])) && failures++ == 0)
            first = describe(i, got[i], expected[i], allowed(tolerance[i]));
    }
    if (failures == 0) return "";
    return first + " (" + std::to_string(failures) + " of " + std::to_string(got.size()) + " fail)";
}

inline std::string difference(const std::vector<double>& got, const std::vector<double>& expected,
                              double tolerance) {
    return difference(got, expected, std::vector<double>(expected.size(), tolerance));
}

// The largest error of rounding x to nearest, half of the distance between its neighbours: in bf16, whose
// numbers have 8 bits, at most 2^-8 |x|; in fp16, whose numbers have 11 bits, 2^-11 |x| or 2^-25, as below 2^-14
// they have fewer.
inline double bf16_rounding(double x) {
    return x != 0 && std::isfinite(x) ? std::ldexp(1, std::ilogb(x) - 8) : 0;
}
inline double fp16_rounding(double x) {
    return x != 0 && std::isfinite(x) ? std::ldexp(1, std::max(std::ilogb(x), -14) - 11) : 0;
}

// Of a storage type: of x, and of any x of at most 1.
template <class Real>
constexpr double worst_rounding = std::is_same_v<Real, bf16>   ? 0x1p-8
                                  : std::is_same_v<Real, fp16> ? 0x1p-11
                                                               : 0;
template <class Real>
double narrow_rounding(double x) {
    return std::is_same_v<Real, bf16>   ? bf16_rounding(x)
           : std::is_same_v<Real, fp16> ? fp16_rounding(x)
                                        : 0;
}

// every entry is 0, exactly
inline std::string nonzero(const std::vector<double>& got) {
    return difference(got, std::vector<double>(got.size(), 0.0), 0);
}

// the same bits in every entry (so -0 is not 0), and no NaN
inline std::string bit_difference(const std::vector<double>& got,
                                  const std::vector<double>& expected) {
    if (const std::string sizes = difference(got, expected, 0); sizes != "") return sizes;
    for (size_t i = 0; i < got.size(); i++)
        if (std::bit_cast<uint64_t>(got[i]) != std::bit_cast<uint64_t>(expected[i]))
            return "bits differ in " + describe(i, got[i], expected[i], 0);
    return "";
}

}  // namespace peri
