// What is read off a model: the hidden state's variance, and samples.
#include <cmath>

#include "catch.h"
#include "generate.h"
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

TEST_CASE("sampling: temperature 0 takes the likeliest, the context is limited", "[generate]") {
    Model<float> model(tiny("peri"), 1, 4);
    model.initialise(3);
    const std::vector<int> tokens = generate(model, {1, 2}, 6, 0, 4, Rng(1));
    REQUIRE(tokens.size() == 8);
    for (size_t n = 2; n < tokens.size(); n++) {
        const size_t start = n > 4 ? n - 4 : 0;
        model.load(batch_of({tokens.begin() + start, tokens.begin() + n}));
        model.forward();
        const std::vector<double> logits = model.next_token_logits();
        CHECK(logits.size() == 5);
        for (const double z : logits) CHECK(z <= logits[tokens[n]]);
    }
    CHECK(generate(model, {1}, 20, 1, 4, Rng(1)) == generate(model, {1}, 20, 1, 4, Rng(1)));
    CHECK(generate(model, {1}, 20, 1, 4, Rng(1)) != generate(model, {1}, 20, 1, 4, Rng(2)));
}

// Frequencies of 2,000 draws of one token against softmax(logits / temperature).
TEST_CASE("sampling: frequencies follow the temperature", "[generate]") {
    Model<float> model(tiny("simple"), 1, 1);
    model.initialise(4);
    model.load(batch_of({1}));
    model.forward();
    const std::vector<double> logits = model.next_token_logits();
    const double temperature = 0.7;
    double sum = 0;
    for (const double z : logits) sum += std::exp(z / temperature);
    const std::vector<int> tokens = generate(model, {1}, 1, temperature, 1, Rng(0));
    CHECK(tokens[0] == 1);
    std::vector<double> count(5);
    constexpr int draws = 2000;
    for (int i = 0; i < draws; i++) count[generate(model, {1}, 1, temperature, 1, Rng(i))[1]]++;
    for (int v = 0; v < 5; v++) {
        const double p = std::exp(logits[v] / temperature) / sum;
        CAPTURE(v, p, count[v] / draws);
        CHECK(std::abs(count[v] / draws - p) <= 4 * std::sqrt(p * (1 - p) / draws));
    }
}
