// The chart and the table of the hidden state's variance.
#include "probe/chart.h"

#include <cmath>

#include "catch.h"

using namespace peri;

TEST_CASE("the chart of two profiles", "[chart]") {
    const std::string chart = variance_chart({0.01, 1, 100}, {0.01, 10, 1000});
    CHECK_THAT(chart, contains("embedding"));
    CHECK_THAT(chart, contains("1e-2"));
    CHECK_THAT(chart, contains("1e3"));
    const std::string last = chart.substr(chart.find("  2 mlp"));
    const size_t start = last.find('|');
    const size_t o = last.find('o', start), end = last.find_last_of('=', last.find('\n'));
    CHECK(o - start - 1 == 38);    // log10(100) = 2 on an axis from -2 to 3 of 48 columns
    CHECK(end - start - 1 == 47);  // 1000 is at its right end
    CHECK_NOTHROW(variance_chart({0, 0}, {NAN, INFINITY}));
}

TEST_CASE("the table of two profiles", "[chart]") {
    CHECK(variance_table({0.5, 1}, {2, 1e6}) == "sublayer,start,end\n0,0.5,2\n1,1,1e+06\n");
}
