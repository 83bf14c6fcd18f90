// What is read off a model: the hidden state's variance.
#include <cmath>

#include "catch.h"
#include "probe.h"

using namespace peri;

namespace {

ModelConfig tiny(const std::string& norm) {
    ModelConfig c;
    c.norm = norm;
    c.layers = 2;
    c.width = 8;
    c.heads = c.kv_heads = 2;
    c.ffn = 12;
    c.vocab = 5;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

Batch batch_of(const std::vector<int>& tokens) {
    return {1, static_cast<int>(tokens.size()), tokens, std::vector<int>(tokens.size(), -1)};
}

}  // namespace

// With all o and down matrices 0 every sub-layer of Pre-LN adds nothing: the variance stays that of
// the embedding, here 1, 2, ..., 8 times 1 and times 3.
TEST_CASE("the hidden state's variance: over the width, mean over tokens", "[probe]") {
    Model<double> model(tiny("pre"), 1, 2);
    std::vector<double> embedding(64 * 8);
    for (int c = 0; c < 8; c++) {
        embedding[c] = c + 1;          // token 0: variance (8^2 - 1) / 12 = 5.25
        embedding[8 + c] = 3 * c + 3;  // token 1: nine times as much
    }
    model.set_values(model.table().embedding, embedding);
    model.load(batch_of({0, 1}));
    model.forward();
    const std::vector<double> profile = hidden_variance(model);
    REQUIRE(profile.size() == 5);  // before the first of four sub-layers, and after each
    for (const double v : profile) CHECK(v == Approx((5.25 + 9 * 5.25) / 2));
}

TEST_CASE("the chart of two profiles", "[probe]") {
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
