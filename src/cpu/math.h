// exp and the sigmoid as straight-line code that compilers turn into vector instructions.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace peri {

// The oracle's.
inline double exp_of(double x) { return std::exp(x); }

// e^x = 2^n e^r with n = round(x / ln 2), r = x - n ln 2 (ln 2 = 0.693147182 - 1.9e-9), |r| <= ln 2
// / 2; e^r by its Taylor series to r^7, whose first dropped term is 5e-9: under half an ulp, with
// rounding at most 2 ulp. Arguments are kept to where the result is a normal number: below -87.3 it
// is 1.2e-38. NaN stays NaN.
inline float exp_of(float x) {
    constexpr float lowest = -87.33654f, highest = 88.72283f;
    x = x < lowest ? lowest : x;
    x = x > highest ? highest : x;
    const float n = std::rint(x * 1.44269504f);
    const float r = std::fma(n, 1.90465421e-09f, std::fma(n, -0.693147182f, x));
    float p = 1.0f / 5040;
    p = std::fma(p, r, 1.0f / 720);
    p = std::fma(p, r, 1.0f / 120);
    p = std::fma(p, r, 1.0f / 24);
    p = std::fma(p, r, 1.0f / 6);
    p = std::fma(p, r, 0.5f);
    p = std::fma(p, r, 1.0f);
    p = std::fma(p, r, 1.0f);
    // 2^n in two steps, since 2^128 is no float: bits of the exponent, n = half + rest
    const int32_t exponent = static_cast<int32_t>(n == n ? n : 0);
    const int32_t half = exponent >> 1;
    const float scale_half = std::bit_cast<float>((half + 127) << 23);
    const float scale_rest = std::bit_cast<float>((exponent - half + 127) << 23);
    return p * scale_half * scale_rest;
}

template <class A>
A sigmoid(A x) {
    return 1 / (1 + exp_of(-x));
}

}  // namespace peri
