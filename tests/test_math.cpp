// The exponential that kernels in float use.
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "catch.h"
#include "cpu/math.h"
#include "device.h"
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

// In threads of their own, so that the tests that follow compute as before.
TEST_CASE("numbers below 1.2e-38 are 0 once asked, in threads that start later too", "[math]") {
    if (!flushes_subnormals) {
        WARN("skipped: this processor cannot take numbers below 1.2e-38 for 0");
        return;
    }
    const auto below = [] {  // the result, and the same number as an input
        volatile float small = 1e-30f, input = 1e-40f;
        return small * 1e-9f != 0 || input * 1e30f != 0;
    };
    int kept = 0, flushed = 0, again = 0;
    std::atomic<int> threads = 0, in_threads = 0;
    const auto each = [&] {
        threads++;
        in_threads += below();
    };
    std::thread([&] {
        kept = below();
        set_flush_subnormals(true);
        flushed = below();
        std::thread(each).join();
#pragma omp parallel num_threads(3)
        each();
        set_flush_subnormals(false);
        again = below();
    }).join();
    CHECK(kept == 1);
    CHECK(flushed == 0);
    CHECK(threads >= 2);
    CHECK(in_threads == 0);
    CHECK(again == 1);
}
