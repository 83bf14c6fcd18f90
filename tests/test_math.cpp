// The exponential that kernels in float use.
#include <cmath>
#include <limits>

#include "catch.h"
#include "cpu/math.h"
#include "tolerance.h"

using namespace peri;

// Half an ulp of rounding at the end and in each of the last two steps of the polynomial makes
// 2 ulp with room. 100,003 points, so that the steps fall nowhere special.
TEST_CASE("float exp: within 2 ulp where the result is a normal number", "[math]") {
    double worst = 0;
    for (int i = 0; i <= 100'003; i++) {
        const float x = -87.3f + static_cast<float>(i) * (175.9f / 100'003);
        const double expected = std::exp(double(x)), got = exp_of(x);
        const double ulp = std::ldexp(1, std::ilogb(expected) - 23);
        const double error = std::abs(got - expected) / ulp;
        if (!(error <= worst)) worst = error;
    }
    CAPTURE(worst);
    CHECK(worst == near(0, of_format(0.5) + 1.5));
}

TEST_CASE("float exp: at and beyond its ends", "[math]") {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    CHECK(exp_of(0.0f) == 1);
    CHECK(exp_of(-0.0f) == 1);
    for (const float x : {-88.0f, -1e30f, -infinity}) {
        CHECK(exp_of(x) > 0);
        CHECK(exp_of(x) < 1.2e-38f);
    }
    for (const float x : {89.0f, 1e30f, infinity}) CHECK(exp_of(x) > 3.4e38f);
    CHECK(std::isnan(exp_of(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("float exp of a softmax: 0 where a sum of at least 1 does not feel it", "[math]") {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    for (const float x : {0.0f, -1.0f, -63.9f, -64.0f}) CHECK(softmax_exp(x) == exp_of(x));
    for (const float x : {-64.1f, -88.0f, -1e30f, -infinity}) CHECK(softmax_exp(x) == 0);
    CHECK(std::isnan(softmax_exp(std::numeric_limits<float>::quiet_NaN())));
    CHECK(softmax_exp(-88.0) == std::exp(-88.0));  // the oracle's
}
