// bf16, fp16: conversions from and to float.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "catch.h"
#include "cpu/narrow.h"
#include "random.h"
#include "real.h"

using namespace peri;

// The compiler's own half, where it has one: g++ 12 has _Float16 on x86-64 alone.
#if defined(__ARM_FP16_FORMAT_IEEE)
#define HAS_HALF
using CompilersHalf = __fp16;
#elif defined(__FLT16_MANT_DIG__)
#define HAS_HALF
using CompilersHalf = _Float16;
#endif

namespace {

constexpr uint32_t patterns = 1 << 16;

bf16 of_bits(uint32_t bits) {
    bf16 x;
    x.bits = static_cast<uint16_t>(bits);
    return x;
}

fp16 half_of_bits(uint32_t bits) {
    fp16 x;
    x.bits = static_cast<uint16_t>(bits);
    return x;
}

// What a bf16 with these bits is worth, from its parts: a sign, 8 bits of exponent, 7 of fraction.
double value_of(uint32_t bits) {
    const double sign = bits & 0x8000 ? -1 : 1;
    const int exponent = bits >> 7 & 0xff, fraction = bits & 0x7f;
    if (exponent == 0xff) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * std::ldexp(fraction, -126 - 7);
    return sign * std::ldexp(128 + fraction, exponent - 127 - 7);
}

// The nearest number of a format, of two that are equally near the even one, by arithmetic alone: it has so many bits of
// fraction down to its least exponent, below which all are as far apart. nearbyint rounds to nearest even.
double nearest(double x, int fraction, int least, double beyond) {
    if (x == 0 || !std::isfinite(x)) return x;
    const int last_bit = std::max(std::ilogb(x), least) - fraction;
    const double result = std::ldexp(std::nearbyint(std::ldexp(x, -last_bit)), last_bit);
    return std::abs(result) < beyond ? result : std::copysign(INFINITY, x);
}
double nearest(double x) { return nearest(x, 7, -126, 0x1p128); }
double nearest_half(double x) { return nearest(x, 10, -14, 0x1p16); }

// the same number, sign of zero included, or both NaN
bool same(double a, double b) {
    return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
}

// How many of the floats of these bits are rounded wrongly.
template <class Bits>
int wrongly_rounded(uint32_t count, Bits bits) {
    int wrong = 0;
    for (uint32_t i = 0; i < count; i++) {
        const float x = std::bit_cast<float>(static_cast<uint32_t>(bits(i)));
        if (!same(bf16(x), nearest(x))) wrong++;
    }
    return wrong;
}

}  // namespace

TEST_CASE("bf16: every bit pattern has its value and comes back from float", "[real]") {
    int wrong_values = 0, wrong_bits = 0;
    for (uint32_t bits = 0; bits < patterns; bits++) {
        const bf16 x = of_bits(bits);
        const bf16 back(static_cast<float>(x));
        if (!same(x, value_of(bits))) wrong_values++;
        const bool quieted = std::isnan(value_of(bits)) && back.bits == (bits | 0x40);
        if (back.bits != bits && !quieted) wrong_bits++;
    }
    CHECK(wrong_values == 0);
    CHECK(wrong_bits == 0);
}

TEST_CASE("bf16: floats are rounded to nearest, halfway to even", "[real]") {
    // around every bf16: itself, a bit more, just below half, half, just above, and the last float
    for (const uint32_t low : {0x0000, 0x0001, 0x7fff, 0x8000, 0x8001, 0xffff}) {
        CAPTURE(low);
        CHECK(wrongly_rounded(patterns, [&](uint32_t i) { return i << 16 | low; }) == 0);
    }
    Rng rng(1);
    CHECK(wrongly_rounded(1'000'000, [&](uint32_t) { return rng.next(); }) == 0);
    CHECK(bf16(1 + 0x1p-8f) == 1);                       // halfway: 1 is even
    CHECK(bf16(1 + 0x3p-8f) == 1 + 0x1p-6f);             // halfway: 1 + 2^-7 is odd
    CHECK(bf16(1 + 0x1p-8f + 0x1p-23f) == 1 + 0x1p-7f);  // a bit above
    CHECK(bf16(-1 - 0x1p-8f - 0x1p-23f) == -1 - 0x1p-7f);
    CHECK(bf16(2 - 0x1p-23f) == 2);  // up to the next power of two
}

TEST_CASE("bf16: zeros, infinities and the ends of the range", "[real]") {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    constexpr float most = std::numeric_limits<float>::max();
    CHECK(bf16(0.0f).bits == 0);
    CHECK(bf16(-0.0f).bits == 0x8000);
    CHECK(bf16(infinity).bits == 0x7f80);
    CHECK(bf16(-infinity).bits == 0xff80);
    CHECK(bf16(0x1.fep127f).bits == 0x7f7f);  // the largest bf16
    CHECK(bf16(0x1.fefffep127f).bits == 0x7f7f);
    CHECK(bf16(0x1.ffp127f) == infinity);  // halfway to 2^128
    CHECK(bf16(most) == infinity);
    CHECK(bf16(-most) == -infinity);
    CHECK(bf16(0x1p-133f).bits == 1);  // the least
    CHECK(bf16(0x1p-134f).bits == 0);  // half of it
    CHECK(bf16(0x1.0002p-134f).bits == 1);
    CHECK(bf16(std::numeric_limits<float>::denorm_min()).bits == 0);
    CHECK(bf16(-std::numeric_limits<float>::denorm_min()).bits == 0x8000);
}

TEST_CASE("bf16: NaN stays NaN and keeps its sign, also with low bits alone", "[real]") {
    for (const uint32_t sign : {0u, 0x80000000u})
        for (const uint32_t payload : {0x000001u, 0x007fffu, 0x008000u, 0x00ffffu, 0x010000u,
                                       0x3fffffu, 0x400000u, 0x7f8000u, 0x7fffffu}) {
            CAPTURE(sign, payload);
            const bf16 x(std::bit_cast<float>(sign | 0x7f800000 | payload));
            CHECK(std::isnan(float(x)));
            CHECK((x.bits >> 15) == (sign >> 31));
        }
}

// By arithmetic from its parts: a sign, 5 bits of exponent, 10 of fraction.
TEST_CASE("fp16: every bit pattern has its value", "[real]") {
    const auto value = [](uint32_t bits) {
        const double sign = bits & 0x8000 ? -1 : 1;
        const int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
        if (exponent == 0x1f) return fraction ? NAN : sign * INFINITY;
        if (exponent == 0) return sign * std::ldexp(fraction, -14 - 10);
        return sign * std::ldexp(1024 + fraction, exponent - 15 - 10);
    };
    int wrong = 0;
    for (uint32_t bits = 0; bits < patterns; bits++)
        if (!same(half_of_bits(bits), value(bits))) wrong++;
    CHECK(wrong == 0);
    CHECK(half_of_bits(0x0001) == 0x1p-24f);
    CHECK(half_of_bits(0x7bff) == 65504);
    CHECK(half_of_bits(0xc001) == -2 - 0x1p-9f);
}

TEST_CASE("fp16: the nearest number, beyond 65,504 infinity", "[real]") {
    CHECK(fp16(1.0f).bits == 0x3c00);
    CHECK(fp16(65504.0f).bits == 0x7bff);
    CHECK(fp16(65519.996f).bits == 0x7bff);
    CHECK(fp16(65520.0f).bits == 0x7c00);  // half of the way to 65,536: to the even one
    CHECK(fp16(-1e30f).bits == 0xfc00);
    CHECK(fp16(0x1p-25f).bits == 0);  // half of the way to the smallest: to the even one
    CHECK(fp16(0x1.000002p-25f).bits == 1);
    CHECK(fp16(0x1.8p-24f).bits == 2);
    CHECK(fp16(-0.0f).bits == 0x8000);
    int wrong = 0, lost = 0, lowest = 0;
    for (uint32_t bits = 0; bits < patterns; bits++) {
        const float x = half_of_bits(bits);
        if (std::isnan(x)) continue;
        if (fp16(x).bits != bits) lost++;
        // between it and its neighbour, on either side of the middle and in it
        const float next = half_of_bits(bits + 1);
        if (!std::isfinite(x) || !std::isfinite(next)) continue;
        const float middle = (x + next) / 2;
        for (const float y : {middle, std::nextafter(middle, x), std::nextafter(middle, next)})
            if (!same(fp16(y), nearest_half(y))) wrong++;
        lowest++;
    }
    CHECK(lost == 0);
    CHECK(wrong == 0);
    CHECK(lowest > 63'000);
}

TEST_CASE("fp16: ten million floats, by arithmetic and by the processor", "[real]") {
    constexpr int n = 1000, rounds = 10'000;
    Rng rng(1);
    std::vector<float> x(n), wide(n);
    std::vector<fp16> rows(n);
    long wrong = 0, differ = 0, others = 0;
    for (int round = 0; round < rounds; round++) {
        for (float& value : x) {
            uint32_t bits = static_cast<uint32_t>(rng.next());
            // half of them where fp16 has numbers: exponents from 2^-27 to 2^17
            if (round % 2) bits = (bits & 0x807fffff) | (100 + (bits >> 24) % 45) << 23;
            value = std::bit_cast<float>(bits);
        }
        round_row(rows.data(), x.data(), n);
        for (int i = 0; i < n; i++) {
            if (!same(fp16(x[i]), nearest_half(x[i]))) wrong++;
            if (fp16(x[i]).bits != rows[i].bits) differ++;
#ifdef HAS_HALF
            if (fp16(x[i]).bits != std::bit_cast<uint16_t>(static_cast<CompilersHalf>(x[i])) &&
                !std::isnan(x[i]))
                others++;
#endif
        }
    }
    CHECK(wrong == 0);
    CHECK(differ == 0);
    CHECK(others == 0);

    // and back: every half, NaN with its bits
    std::vector<fp16> all(patterns);
    std::vector<float> floats(patterns);
    for (uint32_t bits = 0; bits < patterns; bits++) all[bits].bits = static_cast<uint16_t>(bits);
    widen_row(floats.data(), all.data(), patterns);
    for (uint32_t bits = 0; bits < patterns; bits++)
        if (std::bit_cast<uint32_t>(floats[bits]) != std::bit_cast<uint32_t>(float(all[bits])))
            differ++;
    CHECK(differ == 0);
}

TEST_CASE("fp16: NaN stays NaN and keeps its sign, also with low bits alone", "[real]") {
    for (const uint32_t sign : {0u, 0x80000000u})
        for (const uint32_t payload :
             {0x000001u, 0x001fffu, 0x002000u, 0x3fffffu, 0x400000u, 0x7fffffu}) {
            CAPTURE(sign, payload);
            const fp16 x(std::bit_cast<float>(sign | 0x7f800000 | payload));
            CHECK(std::isnan(float(x)));
            CHECK((x.bits >> 15) == (sign >> 31));
        }
}

TEST_CASE("what is summed in what", "[real]") {
    CHECK((std::is_same_v<Accum<bf16>, float> && std::is_same_v<Accum<fp16>, float>));
    CHECK(std::is_same_v<Accum<float>, float>);
    CHECK(std::is_same_v<Accum<double>, double>);
    CHECK((has_masters<bf16> && has_masters<fp16> && !has_masters<float> && !has_masters<double>));
    CHECK((sizeof(bf16) == 2 && sizeof(fp16) == 2));
}
