// Spikes of the gradient norm on planted series.
#include "probe/spikes.h"

#include <cmath>
#include <vector>

#include "catch.h"

using namespace peri;

namespace {

// A watch that has seen 1, 2, ..., 20: their median is 10.5.
SpikeWatch after_twenty() {
    SpikeWatch watch;
    for (int i = 0; i < 20; i++) CHECK_FALSE(watch.after((i * 7) % 20 + 1));  // in any order
    return watch;
}

}  // namespace

TEST_CASE("a spike is above 3 times the median of the last 20", "[spikes]") {
    CHECK_FALSE(after_twenty().after(31.5));
    SpikeWatch watch = after_twenty();
    const std::optional<double> ratio = watch.after(42);
    REQUIRE(ratio);
    CHECK(*ratio == 4);
}

TEST_CASE("no spikes before there are 20 norms", "[spikes]") {
    SpikeWatch watch;
    for (int i = 0; i < 19; i++) CHECK_FALSE(watch.after(1));
    CHECK_FALSE(watch.after(1000));
    CHECK(watch.after(1000));
}

// After 20 steps of 1 the norm is 5: ten are spikes, with 1s in the middle, then 5 is the median of
// 10 and 10 with 1, then usual.
TEST_CASE("only the last 20 count", "[spikes]") {
    SpikeWatch watch;
    for (int i = 0; i < 20; i++) watch.after(1);
    for (int i = 0; i < 10; i++) {
        const std::optional<double> ratio = watch.after(5);
        REQUIRE(ratio);
        CHECK(*ratio == 5);
    }
    CHECK_FALSE(watch.after(5));  // the median is 3
    CHECK_FALSE(watch.after(14.9));
    CHECK(watch.after(15.1));
}

TEST_CASE("what is not finite is no spike and leaves no trace", "[spikes]") {
    SpikeWatch watch = after_twenty();
    for (const double bad : {double(NAN), double(INFINITY), -double(NAN)})
        CHECK_FALSE(watch.after(bad));
    const std::optional<double> ratio = watch.after(42);
    REQUIRE(ratio);
    CHECK(*ratio == 4);
}
