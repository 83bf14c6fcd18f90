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

// IEEE's half: a sign, 5 bits of exponent, 10 of fraction. As bf16 a way to store numbers, with the bits of the
// processors' own conversions (F16C, aarch64); these are not used, as compilers make no vector code of them. Its
// numbers end at 65,504: what would round to more is infinity.
struct fp16 {
    uint16_t bits;

    fp16() = default;
    constexpr fp16(float x) : bits(rounded(x)) {}
    constexpr fp16& operator=(float x) {
        bits = rounded(x);
        return *this;
    }
    // Without branches, so that loops become vector code: the number is each of three, and one is taken.
    constexpr operator float() const {
        const uint32_t sign = uint32_t(bits & 0x8000) << 16, rest = uint32_t(bits & 0x7fff) << 13;
        // a fraction without an exponent (subnormal): that of 2^-14, which is taken off again
        const float small = std::bit_cast<float>(rest + (113u << 23)) - 0x1p-14f;
        const uint32_t normal = rest + (further_exponent << 23);
        const uint32_t beyond =
            rest | (rest > 31u << 23 ? 0x7fc00000 : 0x7f800000);  // NaN or infinity
        return std::bit_cast<float>(sign | (rest < 1u << 23    ? std::bit_cast<uint32_t>(small)
                                            : rest < 31u << 23 ? normal
                                                               : beyond));
    }

  private:
    static constexpr uint32_t further_exponent = 127 - 15;  // float's bias less this one's

    static constexpr uint16_t rounded(float x) {
        const uint32_t all = std::bit_cast<uint32_t>(x), size = all & 0x7fffffff;
        // a multiple of 2^-24, which is the last bit of 0.5: the sum is rounded as floats are
        const uint32_t small =
            std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5f) - 0x3f000000;
        const uint32_t normal = (size - (further_exponent << 23) + 0xfff + (size >> 13 & 1)) >> 13;
        const uint32_t beyond = size > 0x7f800000 ? 0x7e00 | (size >> 13 & 0x3ff) : 0x7c00;
        return static_cast<uint16_t>((all >> 16 & 0x8000) | (size < 0x38800000   ? small   // 2^-14
                                                             : size < 0x477ff000 ? normal  // 65,520
                                                                                 : beyond));
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
