// The number types of the project, and the type each one is summed in.
#pragma once

#include <bit>
#include <cstdint>

namespace peri {

// bfloat16: the upper half of a float, so 8 bits of exponent and 7 of fraction. It is a way to
// store numbers: it turns into float to be computed with, and back by rounding to nearest even.
struct bf16 {
    uint16_t bits;

    bf16() = default;
    constexpr bf16(float x) : bits(rounded(std::bit_cast<uint32_t>(x))) {}
    // Without a temporary: with one, compilers leave loops over bf16 scalar.
    constexpr bf16& operator=(float x) {
        bits = rounded(std::bit_cast<uint32_t>(x));
        return *this;
    }
    constexpr operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }

  private:
    static constexpr uint16_t rounded(uint32_t x) {
        const uint32_t even = (x + 0x7fff + (x >> 16 & 1)) >> 16;
        const uint32_t quiet_nan = x >> 16 | 0x40;  // rounding up could make a NaN infinity
        return static_cast<uint16_t>((x & 0x7fffffff) > 0x7f800000 ? quiet_nan : even);
    }
};

// IEEE's half: a sign, 5 bits of exponent, 10 of fraction. Only weights in files are stored so; it
// turns into the float of the same value.
struct fp16 {
    uint16_t bits;

    constexpr operator float() const {
        const uint32_t sign = uint32_t(bits & 0x8000) << 16, rest = bits & 0x7fff;
        constexpr uint32_t further_exponent = 127 - 15;  // float's bias less this one's
        const float size =
            rest < 0x0400   ? static_cast<float>(rest) * 0x1p-24f  // no exponent: subnormal
            : rest < 0x7c00 ? std::bit_cast<float>((rest << 13) + (further_exponent << 23))
                            : std::bit_cast<float>(0x7f800000 | rest << 13);  // infinity, NaN
        return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(size));
    }
};

// Real is how matrices and activations are stored; Accum<Real> is how gradients, vectors (gammas,
// biases), statistics and moments are: double for double (the oracle), float for everything else.
template <class Real>
struct AccumOf {
    using type = float;
};
template <>
struct AccumOf<double> {
    using type = double;
};
template <class Real>
using Accum = typename AccumOf<Real>::type;

// Where Real is narrower than Accum<Real>, updates are too small for Real to add them up: the optimizer
// keeps master weights in Accum<Real>, and Real's are their rounding.
template <class Real>
constexpr bool has_masters = sizeof(Real) < sizeof(Accum<Real>);

}  // namespace peri
