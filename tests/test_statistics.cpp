// Statistics on numbers that can be checked by hand.
#include "probe/statistics.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "catch.h"
#include "random.h"
#include "tolerance.h"

using namespace peri;

namespace {

using Numbers = std::vector<double>;

const double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("norms, means and variances", "[statistics]") {
    const Numbers x = {3, -4, 0, 12};
    CHECK(norm(x) == 13);
    CHECK(mean(x) == 2.75);
    CHECK(mean_abs(x) == 4.75);
    CHECK(variance(x) == 169.0 / 4 - 2.75 * 2.75);
    CHECK(smallest(x) == -4);
    CHECK(largest_abs({3, -14, 0, 12}) == 14);
    CHECK(row_norms(x, 2) == Numbers{5, 12});
    for (const Numbers& bad : {Numbers{NAN, 1}, Numbers{1, NAN}})
        for (const double v : {norm(bad), mean(bad), mean_abs(bad), variance(bad), smallest(bad),
                               largest_abs(bad), token_variance(bad, 2)})
            CHECK(std::isnan(v));
}

// Per token: two tokens of variance 1 whose means differ by 200 have variance 1, not 10,001.
TEST_CASE("variance and covariance are over the width of each token", "[statistics]") {
    const Numbers x = {99, 101, -101, -99}, y = {1, 7, 5, -1};
    CHECK(token_variance(x, 2) == 1);
    CHECK(token_variance(x, 4) == 10'001);
    CHECK(token_covariance(x, y, 2) == 0);  // 3 and -3
    CHECK(token_covariance(x, {1, 7, -1, 5}, 2) == 3);
}

TEST_CASE("angular distance of known vectors", "[statistics]") {
    CHECK(angular_distance({1, 0}, {0, 3}, 2) == about(0.5));
    CHECK(angular_distance({1, 1}, {0, 3}, 2) == about(0.25));
    CHECK(angular_distance({1, 2}, {-2, -4}, 2) == about(1));
    CHECK(angular_distance({1, 0, 1, 1}, {0, 3, 0, 3}, 2) == about(0.375));  // two tokens
    CHECK(std::isnan(angular_distance({0, 0}, {0, 3}, 2)));
    CHECK(std::isnan(angular_distance({1, NAN}, {0, 3}, 2)));
    CHECK(std::isnan(angular_distance({1e-200, 0}, {0, 1e-200}, 2)));  // squares of these are 0
    // Of one direction the cosine may round to above 1, where arccos is NaN; acos(1 - e) is sqrt(2 e).
    Rng rng(5);
    for (int i = 0; i < 100; i++) {
        Numbers x(7), y;
        for (double& v : x) v = rng.normal();
        for (const double v : x) y.push_back(v * 3.7);
        const double same = angular_distance(x, y, 7);
        CHECK((same >= 0 && same <= std::sqrt(2 * 8 * 2.3e-16) / std::numbers::pi));
    }
}

TEST_CASE("the largest numbers, and where they were", "[statistics]") {
    Largest largest(3);
    largest.add({1, -5, 2}, 0);
    CHECK(largest.sorted()[0].size == 5);
    CHECK(largest.sorted()[2].size == 1);
    largest.add({4, 5, -0.5, -7}, 1);
    const std::vector<Largest::Entry> list = largest.sorted();
    REQUIRE(list.size() == 3);
    CHECK((list[0].size == 7 && list[0].state == 1));
    CHECK((list[1].size == 5 && list[1].state == 0));
    CHECK((list[2].size == 5 && list[2].state == 1));
    largest.add({NAN, infinity}, 2);
    CHECK((std::isnan(largest.sorted()[0].size) && largest.sorted()[1].size == infinity));
    CHECK(largest.sorted()[2].size == 7);
    CHECK(Largest(3).sorted().empty());
}

TEST_CASE("what fp16 cannot hold", "[statistics]") {
    CHECK(beyond_fp16({65504, -65504, 65504.01, -1e9, NAN, infinity, 0}) == 4);
    CHECK(not_finite({65504, -1e9, NAN, -infinity, 0}) == 2);
}

TEST_CASE("channels that stand out", "[statistics]") {
    CHECK(column_squares({1, 2, 3, -3, 0, 1}, 3) == std::vector<double>{5, 2, 5});
    CHECK(share_of_largest({1, 5, 2, 2}, 1) == 0.5);
    CHECK(share_of_largest({1, 5, 2, 2}, 2) == near(0.7, 1e-15));
    CHECK(share_of_largest({1, 5, 2, 2}, 4) == 1);
    CHECK(kurtosis({3, 3, 3, 3}) == 1);
    CHECK(kurtosis({0, 0, 7, 0}) == 4);
    CHECK(kurtosis({1, 3}) == 1.25);
    CHECK(std::isnan(share_of_largest({1, NAN, 2}, 1)));
    CHECK(std::isnan(share_of_largest({0, 0}, 1)));
    CHECK(std::isnan(kurtosis({0, 0})));
    CHECK(std::isnan(kurtosis({1, infinity})));
}
