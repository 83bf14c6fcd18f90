// Formats of few bits (--fake-quant): numbers are rounded to what such a format holds and computed with as before, to
// see what a model loses by it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "real.h"

namespace peri {

// int8, int4     q s with a whole |q| <= 127, 7,   s = max |x| / 127, / 7 over a row: a token, or what a matrix makes one
//                number of; ..._tensor: over all rows. Rows, or tensors, with a number that is not finite are NaN
// e4m3, e5m2     so many bits of exponent and of mantissa (Micikevicius et al. 2022, arXiv 2209.05433). Beyond 448 there
//                is NaN, beyond 57,344 infinity; ..._sat: these largest numbers in their place
// fp16, bf16     those of real.h
enum class FewBits {
    none,
    int8,
    int8_tensor,
    int4,
    int4_tensor,
    e4m3,
    e4m3_sat,
    e5m2,
    e5m2_sat,
    fp16,
    bf16
};
constexpr int few_bits_formats = 11;

// The formats of the hidden states (x before the first sub-layer, and each y), of what attention and MLP give out (a),
// and of the sub-layers' matrices.
struct FakeQuant {
    FewBits hidden = FewBits::none, outputs = FewBits::none, weights = FewBits::none;
    bool any() const {
        return hidden != FewBits::none || outputs != FewBits::none || weights != FewBits::none;
    }
};

// y = the nearest to x that the format holds, ties to even, in float for every Real: the same bits on every backend.
// Backward has no kernel: gradients pass as if nothing had been rounded (straight-through, Bengio et al. 2013, arXiv
// 1308.3432), by the rounded states and matrices.
//   y (R,C) out, may be x   x (R,C)
template <class Real>
void quantise(Real* y, const Real* x, int R, int C, FewBits format);

// bytes it needs: the largest |x| of each row, and of all
constexpr size_t quantise_workspace(int R) { return (size_t(R) + 1) * sizeof(uint32_t); }

// ---- one number ---------------------------------------------------------------------------------

// The most that |q| is; 0: the format has no q.
constexpr int levels(FewBits format) {
    return format == FewBits::int8 || format == FewBits::int8_tensor   ? 127
           : format == FewBits::int4 || format == FewBits::int4_tensor ? 7
                                                                       : 0;
}
constexpr bool one_step(FewBits format) {  // for all rows
    return format == FewBits::int8_tensor || format == FewBits::int4_tensor;
}

// |x| as bits, which order as sizes do, with infinity and then NaN at the end.
constexpr uint32_t size_bits(float x) { return std::bit_cast<uint32_t>(x) & 0x7fffffff; }

// s, from the bits of the largest |x|. Below the least normal float it is 0, and so is what it rounds.
constexpr float step_of(uint32_t largest, FewBits format) {
    const float step = std::bit_cast<float>(largest) / static_cast<float>(levels(format));
    return step < 0x1p-126f ? 0 : step;
}

// q s. What is added and taken off again leaves no bit below 1.
constexpr float in_steps(float x, float step) {
    const float q = x / step + 0x1.8p23f;
    return step == 0 ? 0 : (q - 0x1.8p23f) * step;
}

// To a float of so many bits of mantissa, whose least exponent is the one given.
constexpr float to_small_float(float x, int mantissa, int least_exponent, float largest,
                               float beyond) {
    const uint32_t size = size_bits(x);
    const int exponent = static_cast<int>(size >> 23) - 127;
    const int below = exponent < least_exponent ? least_exponent - exponent : 0;  // subnormal
    const int dropped = below < 2 + mantissa ? 23 - mantissa + below : 25;        // of 1.m, as a
    const uint32_t significand = (size & 0x7fffff) | 0x800000;                    // whole number
    const uint32_t kept =
        (significand + (1u << (dropped - 1)) - 1 + (significand >> dropped & 1)) >> dropped;
    const int unit = below > 0 ? least_exponent - mantissa : exponent - mantissa;
    const float rounded =
        static_cast<float>(kept) * std::bit_cast<float>(static_cast<uint32_t>(unit + 127) << 23);
    const float y = size > 0x7f800000 ? x : rounded <= largest ? rounded : beyond;
    return std::bit_cast<float>(size_bits(y) | (std::bit_cast<uint32_t>(x) & 0x80000000));
}

constexpr float rounded(float x, FewBits format, float step) {
    constexpr float nan = std::bit_cast<float>(0x7fc00000u);
    constexpr float infinity = std::bit_cast<float>(0x7f800000u);
    switch (format) {
        case FewBits::none:
            return x;
        case FewBits::int8:
        case FewBits::int8_tensor:
        case FewBits::int4:
        case FewBits::int4_tensor:
            return in_steps(x, step);
        case FewBits::e4m3:
            return to_small_float(x, 3, -6, 448, nan);
        case FewBits::e4m3_sat:
            return to_small_float(x, 3, -6, 448, 448);
        case FewBits::e5m2:
            return to_small_float(x, 2, -14, 57344, infinity);
        case FewBits::e5m2_sat:
            return to_small_float(x, 2, -14, 57344, 57344);
        case FewBits::fp16:
            return fp16(x);
        case FewBits::bf16:
            return bf16(x);
    }
    return x;
}

}  // namespace peri
