// Reading piece by piece with cached keys and values, against the full forward pass; and sampling.
#include "jobs/generate.h"
#include "jobs/readable.h"

#include <cmath>

#include "catch.h"
#include "check.h"
#include "compare.h"
#include "models.h"

using namespace peri;

namespace {

struct Options {
    std::string qk_norm = "auto";
    Choice embedding_norm = Choice::automatic;
    bool layernorm = false, grouped = false;
};

// Odd on purpose: no width is a multiple of 8, the vocabulary is padded.
ModelConfig config_of(const std::string& norm, const Options& options = {}) {
    ModelConfig c;
    c.norm = norm;
    c.layers = 2;
    c.width = 12;
    c.heads = 2;
    c.kv_heads = options.grouped ? 1 : 2;
    c.ffn = 19;
    c.vocab = 17;
    c.layernorm = options.layernorm;
    resolve(c, options.qk_norm, options.embedding_norm, Choice::automatic);
    return c;
}

std::vector<int> random_tokens(int n, int vocab, uint64_t seed) {
    Rng rng(seed);
    std::vector<int> tokens;
    for (int i = 0; i < n; i++) tokens.push_back(static_cast<int>(rng.below(vocab)));
    return tokens;
}

std::vector<int> part(const std::vector<int>& tokens, int first, int end) {
    return {tokens.begin() + first, tokens.begin() + end};
}

// logits of the token after these, from the full forward pass
template <class Real>
std::vector<double> full_logits(Model<Real>& model, const std::vector<int>& tokens) {
    const int n = static_cast<int>(tokens.size());
    model.load({1, n, tokens, std::vector<int>(n, -1)});
    model.forward();
    return model.next_token_logits();
}

// Widths of the pieces that 12 tokens are read in: the first alone, odd ones, single tokens.
const std::vector<int> pieces = {1, 5, 1, 1, 3, 1};

// The logits after each piece, end to end: with the cache, or by the full forward pass.
template <class Real>
std::vector<double> logits_after_pieces(Model<Real>& model, const std::vector<int>& tokens,
                                        bool cached) {
    Decoder<Real> decoder(model);
    std::vector<double> all;
    int end = 0;
    for (const int piece : pieces) {
        end += piece;
        const std::vector<double> logits = cached ? decoder.feed(part(tokens, end - piece, end))
                                                  : full_logits(model, part(tokens, 0, end));
        all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
}

// The products of a piece have fewer rows, so a library may sum in another order: in double that is
// some 1e-15 a layer.
void check_double(const ModelConfig& config) {
    Model<double> cached(config, 1, 12), full(config, 2, 13);
    randomise(cached, 5);
    randomise(full, 5);
    const std::vector<int> tokens = random_tokens(12, config.vocab, 6);
    const std::vector<double> expected = logits_after_pieces(full, tokens, false);
    CHECK(difference(logits_after_pieces(cached, tokens, true), expected,
                     roundings(9000) * largest(expected)) == "");
}

double largest_error(const std::vector<double>& got, const std::vector<double>& expected) {
    std::vector<double> error;
    for (size_t i = 0; i < expected.size(); i++) error.push_back(got[i] - expected[i]);
    return largest(error);
}

}  // namespace

TEST_CASE("cached keys and values: the logits of the full forward pass", "[generate]") {
    for (const std::string& norm : placement_names()) {
        CAPTURE(norm);
        check_double(config_of(norm));
        check_double(config_of(norm, {.embedding_norm = Choice::on, .grouped = true}));
        check_double(config_of(norm, {.layernorm = true, .grouped = true}));
        if (norm == "simple") continue;  // brings its own
        check_double(config_of(norm, {.qk_norm = "head", .grouped = true}));
        check_double(config_of(norm, {.qk_norm = "full", .embedding_norm = Choice::off}));
    }
}

// Against the oracle with the same weights, reading by pieces may be twice as far off as the full
// pass is.
TEMPLATE_TEST_CASE("cached keys and values in narrow types", "[generate]", float, bf16, fp16) {
    for (const std::string& norm : placement_names()) {
        const ModelConfig config = config_of(norm, {.grouped = true});
        Model<TestType> model(config, 1, 12);
        Model<double> oracle(config, 1, 12);
        randomise(model, 7);
        for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
            oracle.set_values(id, model.values(id));
        const std::vector<int> tokens = random_tokens(12, config.vocab, 8);
        const std::vector<double> expected = logits_after_pieces(oracle, tokens, false);
        const double full = largest_error(logits_after_pieces(model, tokens, false), expected);
        const double cached = largest_error(logits_after_pieces(model, tokens, true), expected);
        CAPTURE(norm, full, cached, largest(expected));
        CHECK(full == near(0, largest(expected) * (sizeof(TestType) == 2 ? 0.1 : 1e-5)));
        CHECK(cached <= full + allowed(2 * full));
    }
}

TEST_CASE("past the context's end the latest half of it is read anew", "[generate]") {
    const ModelConfig config = config_of("peri");
    Model<double> model(config, 1, 7), full(config, 1, 7);
    randomise(model, 9);
    randomise(full, 9);
    const std::vector<int> t = random_tokens(30, config.vocab, 10);
    Decoder<double> decoder(model);
    const auto check = [&](int first, int begin, int end) {
        CAPTURE(first, begin, end);
        CHECK(difference(decoder.feed(part(t, begin, end)), full_logits(full, part(t, first, end)),
                         roundings(9000)) == "");
    };
    check(0, 0, 3);
    check(0, 3, 7);     // just full
    check(5, 7, 8);     // the latest 3
    check(5, 8, 12);    // full again
    check(11, 12, 14);  // of which 2 are the piece
    check(26, 14, 29);  // a piece longer than the context
    check(26, 29, 30);

    Model<double> single(config, 1, 1);  // a context of one token
    randomise(single, 9);
    Decoder<double> forgetful(single);
    forgetful.feed({3});
    CHECK(difference(forgetful.feed({4}), full_logits(full, {4}), roundings(9000)) == "");
}

// --recompute sublayers keeps no keys, so there every token takes a full forward pass.
TEST_CASE("text with and without cached keys is the same", "[generate]") {
    ModelConfig config = config_of("olmo2", {.grouped = true});
    Model<double> cached(config, 3, 9);
    config.recompute = Recompute::sublayers;
    Model<double> full(config, 1, 9);
    randomise(cached, 11);
    randomise(full, 11);
    for (const double temperature : {0.0, 1.0}) {
        const Sampling sampling = {temperature};
        const std::vector<int> text = generate(cached, {1, 2}, 40, sampling, Rng(1));
        REQUIRE(text.size() == 42);
        CHECK(part(text, 0, 2) == std::vector<int>{1, 2});
        CHECK(text == generate(full, {1, 2}, 40, sampling, Rng(1)));
    }
}

// As --generate has it: of a sub-layer nothing stays but keys and values.
TEST_CASE("text of a model for inference is the same", "[generate]") {
    for (const std::string& norm : placement_names())
        for (const Recompute recompute :
             {Recompute::none, Recompute::norms, Recompute::sublayers}) {
            ModelConfig config = config_of(norm, {.grouped = true});
            Model<double> training(config, 1, 9);
            config.recompute = recompute;
            Model<double> inference(config, 1, 9, Purpose::inference);
            randomise(training, 11);
            randomise(inference, 11);
            CAPTURE(norm, static_cast<int>(recompute));
            CHECK(generate(inference, {1, 2}, 25, {0}, Rng(1)) ==
                  generate(training, {1, 2}, 25, {0}, Rng(1)));
        }
}

TEST_CASE("generating: temperature 0 takes the likeliest, the seed decides the rest",
          "[generate]") {
    Model<float> model(config_of("peri"), 1, 16);
    randomise(model, 3);
    std::vector<int> told;
    const std::vector<int> tokens =
        generate<float>(model, {1, 2}, 12, {0}, Rng(1), [&](int v) { told.push_back(v); });
    REQUIRE(tokens.size() == 14);
    CHECK(told == part(tokens, 2, 14));
    for (int n = 2; n < 14; n++) {
        const std::vector<double> logits = full_logits(model, part(tokens, 0, n));
        CHECK(logits.size() == 17);
        for (const double z : logits) CHECK(z <= logits[tokens[n]]);
    }
    // the same text, up to the first token of that kind
    const int stop = tokens[9];
    const auto end = std::find(tokens.begin() + 2, tokens.end(), stop);
    CHECK(generate<float>(model, {1, 2}, 12, {0, 0, 1, stop}, Rng(1)) ==
          std::vector<int>(tokens.begin(), end));
    const Sampling sampling = {1};
    CHECK(generate(model, {1}, 20, sampling, Rng(1)) == generate(model, {1}, 20, sampling, Rng(1)));
    CHECK(generate(model, {1}, 20, sampling, Rng(1)) != generate(model, {1}, 20, sampling, Rng(2)));
}

TEST_CASE("a batch after generating begins at position 0 again", "[generate]") {
    Model<double> model(config_of("peri"), 2, 6);
    randomise(model, 4);
    const Batch batch{2, 5, random_tokens(10, 17, 1), random_tokens(10, 17, 2)};
    const auto loss = [&] {
        model.load(batch);
        model.zero_loss();
        model.forward();
        model.backward(10);
        return model.loss();
    };
    const double before = loss();
    generate(model, {1}, 4, {}, Rng(1));
    CHECK(loss() == before);
}

// ---- sampling -----------------------------------------------------------------------------------

namespace {

// logits whose softmax is p
std::vector<double> logits_of(const std::vector<double>& p) {
    std::vector<double> logits;
    for (const double x : p) logits.push_back(std::log(x) + 3);
    return logits;
}

std::vector<double> probabilities(const std::vector<double>& p, const Sampling& sampling) {
    return next_token_probabilities(logits_of(p), sampling);
}

using Numbers = std::vector<double>;

}  // namespace

TEST_CASE("sampling: softmax with temperature", "[sampling]") {
    const Numbers p = {0.1, 0.4, 0.2, 0.3};
    CHECK(difference(probabilities(p, {1}), p, roundings(9)) == "");
    // at temperature 1/2 probabilities are squared, and made to sum to 1 again
    CHECK(difference(probabilities(p, {0.5}), {1 / 30., 16 / 30., 4 / 30., 9 / 30.},
                     roundings(9)) == "");
    CHECK(probabilities(p, {0}) == Numbers{0, 1, 0, 0});
    CHECK(probabilities(p, {1e-300}) == Numbers{0, 1, 0, 0});
    CHECK(next_token_probabilities({1e308, -1e308}, {1}) == Numbers{1, 0});
    CHECK(next_token_probabilities({5}, {1}) == Numbers{1});
}

TEST_CASE("sampling: top-k keeps the likeliest k", "[sampling]") {
    const Numbers p = {0.1, 0.4, 0.2, 0.3};
    CHECK(difference(probabilities(p, {1, 2}), {0, 4 / 7., 0, 3 / 7.}, roundings(9)) == "");
    CHECK(probabilities(p, {1, 1}) == Numbers{0, 1, 0, 0});
    CHECK(difference(probabilities(p, {1, 9}), p, roundings(9)) == "");
    // of equals, the lower number first
    CHECK(next_token_probabilities({1, 2, 2, 2}, {1, 2}) == Numbers{0, 0.5, 0.5, 0});
    CHECK(next_token_probabilities({2, 2, 2}, {0}) == Numbers{1, 0, 0});
}

TEST_CASE("sampling: top-p keeps the fewest that hold P", "[sampling]") {
    const Numbers p = {0.1, 0.4, 0.2, 0.3};
    CHECK(difference(probabilities(p, {1, 0, 0.69}), {0, 4 / 7., 0, 3 / 7.}, roundings(9)) == "");
    CHECK(difference(probabilities(p, {1, 0, 0.71}), {0, 4 / 9., 2 / 9., 3 / 9.}, roundings(9)) ==
          "");
    CHECK(probabilities(p, {1, 0, 0}) == Numbers{0, 1, 0, 0});
    CHECK(probabilities(p, {1, 0, 0.39}) == Numbers{0, 1, 0, 0});
    CHECK(difference(probabilities(p, {1, 0, 1}), p, roundings(9)) == "");
    // exactly P is enough, and ties go to the lower number
    CHECK(next_token_probabilities({2, 2, 2, 2}, {1, 0, 0.5}) == Numbers{0.5, 0.5, 0, 0});
    // a share of what top-k leaves: of 4/7 and 3/7, the first holds more than half
    CHECK(probabilities(p, {1, 2, 0.5}) == Numbers{0, 1, 0, 0});
    // of what the temperature makes: squared, 0.4 holds 16/30
    CHECK(probabilities(p, {0.5, 0, 0.5}) == Numbers{0, 1, 0, 0});
}

TEST_CASE("sampling: logits that are not finite are refused", "[sampling]") {
    for (const double bad : {double(NAN), double(INFINITY), -double(INFINITY)})
        for (const double temperature : {0.0, 1.0})
            CHECK_THROWS_AS(next_token_probabilities({1, bad, 2}, {temperature}), UserError);
}

TEST_CASE("sampling: draws come as often as their probability says", "[sampling]") {
    const Numbers p = {0.05, 0, 0.6, 0.35, 0};
    Numbers count(p.size());
    constexpr int draws = 4000;
    Rng rng(3);
    for (int i = 0; i < draws; i++) count[draw(p, rng)]++;
    for (size_t v = 0; v < p.size(); v++) {
        CAPTURE(v);
        CHECK(count[v] / draws == near(p[v], 4 * std::sqrt(p[v] * (1 - p[v]) / draws)));
    }
}

TEST_CASE("prompts and text", "[generate]") {
    CHECK(prompt_tokens("Az\xff", 256) == std::vector<int>{65, 122, 255});
    CHECK(prompt_tokens("", 256).empty());
    CHECK(prompt_tokens(" 12 0  299", 300) == std::vector<int>{12, 0, 299});
    for (const char* bad : {"300", "-1", "x", "1.5", "99999999999"})
        CHECK_THROWS_AS(prompt_tokens(bad, 300), UserError);
    CHECK_THROWS_AS(prompt_tokens("a", 97), UserError);
    CHECK(prompt_tokens("a", 98) == std::vector<int>{97});
    CHECK(readable({72, 105, 0, 9, 10, 27, 127, 200}, 256) == "Hi\n\t\n\\x1b\\x7f\\xc8");
    CHECK(readable({72, 0}, 257) == "72 0 ");
}

TEST_CASE("text is UTF-8, whatever the bytes", "[generate]") {
    const auto of = [](const std::string& bytes) {
        std::vector<int> tokens;
        for (const char c : bytes) tokens.push_back(static_cast<unsigned char>(c));
        return readable(tokens, 256);
    };
    for (const char* text : {"né", "\u0800", "\ue000", "日本", "🙂", "\U0010ffff", "\u00a0"})
        CHECK(of(text) == text);
    CHECK(of("\xc3") == "\\xc3");             // cut off
    CHECK(of("\xe6\x97z") == "\\xe6\\x97z");  // broken off
    CHECK(of("\xc3\xc3\xa9") == "\\xc3é");    // and the next one begins
    CHECK(of("\xe6\xf0\x9f\x99\x82") == "\\xe6🙂");
    CHECK(of("\x80\xbf") == "\\x80\\xbf");  // no beginning
    CHECK(of("\xc0\xaf") == "\\xc0\\xaf");  // overlong
    CHECK(of("\xe0\x9f\xbf") == "\\xe0\\x9f\\xbf");
    CHECK(of("\xf0\x8f\xbf\xbf") == "\\xf0\\x8f\\xbf\\xbf");
    CHECK(of("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // a surrogate
    CHECK(of("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
    CHECK(of("\xff") == "\\xff");
    CHECK(of("\xc2\x9b") == "\\xc2\\x9b");  // a terminal's command
    Readable text(256);
    CHECK(text.add(0xc3).empty());
    CHECK(text.add(0xa9) == "é");
    CHECK(text.rest().empty());
}
