// The two fits of the variance's growth, on series whose answer is known.
#include "probe/growth.h"

#include <cmath>

#include "catch.h"
#include "tolerance.h"

using namespace peri;

namespace {

// f(1), ..., f(n) behind an entry 0 that must not be read
template <class F>
std::vector<double> series(int n, F&& f) {
    std::vector<double> v = {NAN};
    for (int s = 1; s <= n; s++) v.push_back(f(s));
    return v;
}

}  // namespace

// Relative to the first sub-layer: 6 + 4 s over 10.
TEST_CASE("a linear series: its slope, no error, and one of the exponential fit", "[growth]") {
    const Growth g = growth(series(24, [](int s) { return 6 + 4.0 * s; }));
    CHECK(g.linear_slope == about(0.4));
    CHECK(g.linear_error == near(0, roundings(900)));
    CHECK(g.exponential_error > 0.05);
}

TEST_CASE("an exponential series: its rate, no error, and one of the linear fit", "[growth]") {
    const Growth g = growth(series(24, [](int s) { return 0.01 * std::exp(0.3 * s); }));
    CHECK(g.exponential_rate == about(0.3));
    CHECK(g.exponential_error == near(0, roundings(900)));
    CHECK(g.linear_error > 0.5);  // the line is below 0 at first
}

// Errors by hand. v = 1, 1, 4 has the line 1.5 s - 1, which is 0.5, 2, 3.5, and the exponential whose
// logarithms are log 4 times -1/6, 1/3, 5/6 (log v is 0, 0, log 4).
TEST_CASE("both errors are root mean squares in decades", "[growth]") {
    const Growth g = growth({7, 2, 2, 8});
    const double a = std::log10(0.5), b = std::log10(2), c = std::log10(3.5 / 4);
    CHECK(g.linear_slope == about(1.5));
    CHECK(g.linear_error == about(std::sqrt((a * a + b * b + c * c) / 3)));
    CHECK(g.exponential_rate == about(std::log(4) / 2));
    CHECK(g.exponential_error == about(std::log10(4) * std::sqrt((1 + 4 + 1) / 36.0 / 3)));
}

// v = 1, 1, 1, 31: the line 9 s - 14 is -5 and 4 at s = 1, 2; the first counts as 10^-6.
TEST_CASE("a fit below 0 counts as a millionth", "[growth]") {
    const Growth g = growth({0, 1, 1, 1, 31});
    const double errors[] = {-6, std::log10(4), std::log10(13), std::log10(22.0 / 31)};
    double squares = 0;
    for (const double e : errors) squares += e * e;
    CHECK(g.linear_slope == about(9));
    CHECK(g.linear_error == about(std::sqrt(squares / 4)));
}

TEST_CASE("growth of what is not a positive number is no number", "[growth]") {
    for (const double bad : {double(NAN), double(INFINITY), 0.0}) {
        const Growth g = growth({1, 1, bad, 3, 4});
        CHECK_FALSE(std::isfinite(g.linear_error));
        CHECK_FALSE(std::isfinite(g.exponential_error));
    }
    CHECK(std::isnan(growth({1, 0, 0}).linear_slope));
}
