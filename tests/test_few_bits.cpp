#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "catch.h"
#include "model_cases.h"
#include "problems/few_bits.h"

using namespace peri;

namespace {

// What the bits of an 8-bit float stand for, by the format's own definition; NaN where they stand for none.
double decoded(int code, int mantissa_bits, bool infinities) {
    const int exponent_bits = 7 - mantissa_bits, bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = code >> mantissa_bits, mantissa = code & ((1 << mantissa_bits) - 1);
    const int last = (1 << exponent_bits) - 1;
    if (infinities && exponent == last) return mantissa ? NAN : INFINITY;
    if (!infinities && code == 127) return NAN;
    const double fraction = std::ldexp(mantissa, -mantissa_bits);
    return exponent == 0 ? std::ldexp(fraction, 1 - bias)
                         : std::ldexp(1 + fraction, exponent - bias);
}

struct Small {
    FewBits format, saturating;
    int mantissa_bits;
    bool infinities;
};
const Small smalls[] = {{FewBits::e4m3, FewBits::e4m3_sat, 3, false},
                        {FewBits::e5m2, FewBits::e5m2_sat, 2, true}};

// The numbers of 0 and more that the format holds, in the order of their codes, which is that of their sizes.
std::vector<double> numbers(const Small& small) {
    std::vector<double> list;
    for (int code = 0; code < 128; code++)
        if (const double x = decoded(code, small.mantissa_bits, small.infinities); std::isfinite(x))
            list.push_back(x);
    return list;
}

// The nearest of the list by looking at its neighbours; halfway the one with the even code.
double nearest_of(const std::vector<double>& list, double x) {
    const size_t above = std::lower_bound(list.begin(), list.end(), x) - list.begin();
    if (above == 0) return list[0];
    const double down = x - list[above - 1], up = list[above] - x;
    return up < down || (up == down && above % 2 == 0) ? list[above] : list[above - 1];
}

std::vector<double> of_rows(const std::vector<double>& x, int R, FewBits format) {
    auto p = quantised<double>(R, static_cast<int>(x.size()) / R, format, false, 1);
    p.set("x", x);
    const std::vector<double> y = p.run().values("y");
    REQUIRE(p.errors() == "");
    return y;
}

}  // namespace

TEST_CASE("few bits: 8-bit floats hold what their codes say, and nothing else", "[few_bits]") {
    for (const Small& small : smalls) {
        const std::vector<double> list = numbers(small);
        REQUIRE(list.back() == (small.infinities ? 57344 : 448));
        REQUIRE(list[1] == (small.infinities ? 0x1p-16 : 0x1p-9));
        for (size_t i = 0; i + 1 < list.size(); i++) {
            const float low = static_cast<float>(list[i]), high = static_cast<float>(list[i + 1]);
            const float half = (low + high) / 2;
            for (const float x : {low, std::nextafter(half, low), half, std::nextafter(half, high),
                                  std::nextafter(high, low)})
                for (const float sign : {1.0f, -1.0f}) {
                    const float y = rounded(sign * x, small.format, 0);
                    INFO(sign * x);
                    REQUIRE(double(sign * y) == nearest_of(list, x));
                    REQUIRE(std::signbit(y) == (sign < 0));
                    REQUIRE(rounded(sign * x, small.saturating, 0) == y);
                }
        }
        Rng rng(1);
        for (int i = 0; i < 100000; i++) {
            const float x = std::bit_cast<float>(static_cast<uint32_t>(rng.below(0x7f800000)));
            if (x > list.back()) continue;
            INFO(x);
            REQUIRE(rounded(x, small.format, 0) == nearest_of(list, x));
        }
    }
}

TEST_CASE("few bits: beyond the largest number", "[few_bits]") {
    const float infinity = INFINITY;
    for (const float sign : {1.0f, -1.0f}) {
        const auto at = [&](float x, FewBits format) {
            return sign * rounded(sign * x, format, 0);
        };
        // halfway to the next number that there would be, 480 and 65,536: the even one is 448, and 65,536
        CHECK(at(464, FewBits::e4m3) == 448);
        CHECK(std::isnan(at(std::nextafter(464.0f, infinity), FewBits::e4m3)));
        CHECK(std::isnan(at(infinity, FewBits::e4m3)));
        CHECK(at(std::nextafter(61440.0f, 0.0f), FewBits::e5m2) == 57344);
        CHECK(at(61440, FewBits::e5m2) == infinity);
        CHECK(at(infinity, FewBits::e5m2) == infinity);
        for (const float x : {500.0f, 1e30f, infinity}) CHECK(at(x, FewBits::e4m3_sat) == 448);
        for (const float x : {61440.0f, 1e30f, infinity}) CHECK(at(x, FewBits::e5m2_sat) == 57344);
        CHECK(at(65519, FewBits::fp16) == 65504);
        CHECK(at(65520, FewBits::fp16) == infinity);
    }
    for (int format = 0; format < few_bits_formats; format++)
        CHECK(std::isnan(rounded(NAN, static_cast<FewBits>(format), 1)));
}

TEST_CASE("few bits: integers take the nearest step of a row, or of all", "[few_bits]") {
    const int R = 7, C = 33;
    for (const uint64_t seed : seeds) {
        Rng rng(seed);
        std::vector<double> x(R * C);
        for (size_t i = 0; i < x.size(); i++)
            x[i] = static_cast<float>(std::exp2(double(i / C)) * rng.normal());
        const double all = largest(x);
        for (const auto& [format, q_max, one] :
             {std::tuple(FewBits::int8, 127, false), std::tuple(FewBits::int8_tensor, 127, true),
              std::tuple(FewBits::int4, 7, false), std::tuple(FewBits::int4_tensor, 7, true)}) {
            const std::vector<double> y = of_rows(x, R, format);
            for (int r = 0; r < R; r++) {
                const std::vector<double> row(x.begin() + r * C, x.begin() + (r + 1) * C);
                const double step = (one ? all : largest(row)) / q_max;
                for (int c = 0; c < C; c++) {
                    const double q = y[r * C + c] / step;
                    INFO(r << " " << c);
                    // two roundings of float, of the step and of the product
                    CHECK(std::abs(q - std::round(q)) <= 2 * 0x1p-23 * q_max);
                    CHECK(std::abs(y[r * C + c] - row[c]) <= step * (0.5 + 2 * 0x1p-23 * q_max));
                }
            }
        }
    }
}

TEST_CASE("few bits: integers at the edges", "[few_bits]") {
    using std::vector;
    // halves go to the even side: with steps of 1 these are ..., 1.5 -> 2, 2.5 -> 2
    CHECK(of_rows({127, 1.5, 2.5, -0.5, -1.5, 0.49}, 1, FewBits::int8) ==
          vector<double>{127, 2, 2, 0, -2, 0});
    CHECK(of_rows({-7, 3.5, 2.5, 0.4}, 1, FewBits::int4) == vector<double>{-7, 4, 2, 0});
    CHECK(of_rows({0, 0, 7, 0.6}, 2, FewBits::int4) == vector<double>{0, 0, 7, 1});
    CHECK(of_rows({0, 0, 0}, 1, FewBits::int8_tensor) == vector<double>{0, 0, 0});
    CHECK(of_rows({1e-44, -1e-39}, 1, FewBits::int8) == vector<double>{0, 0});
    CHECK(of_rows({3e38, -3e38, 1e36}, 1, FewBits::int8)[0] == 3e38f);
    for (const double bad : {double(INFINITY), double(NAN)}) {
        const vector<double> rows = of_rows({1, bad, 7, 3}, 2, FewBits::int4);
        CHECK((std::isnan(rows[0]) && std::isnan(rows[1]) && rows[2] == 7 && rows[3] == 3));
        for (const double y : of_rows({1, bad, 7, 3}, 2, FewBits::int4_tensor))
            CHECK(std::isnan(y));
    }
}

TEST_CASE("few bits: the same bits twice, and in any type", "[few_bits]") {
    for (int format = 0; format < few_bits_formats; format++) {
        const auto f = static_cast<FewBits>(format);
        CHECK(bit_errors([&] { return quantised<double>(9, 35, f, true, 2); }) == "");
        // what was rounded stays as it is
        const std::vector<double> once = quantised<double>(9, 35, f, false, 2).run().values("y");
        if (levels(f) == 0) CHECK(difference(of_rows(once, 9, f), once, 0) == "");
    }
}

// ---- in the model -------------------------------------------------------------------------------

namespace {

struct Ran {
    double loss;
    std::vector<std::vector<double>> states, gradients;
    bool operator==(const Ran&) const = default;
};

Ran run(Model<double>& model) {
    const Batch batch = random_batch(model.config().vocab, 1);
    model.zero_loss();
    model.zero_gradients();
    forward_backward(model, batch, B, targeted);
    Ran ran{model.loss(), {}, {}};
    for (int s = 0; s <= model.sublayer_count(); s++) ran.states.push_back(model.hidden_state(s));
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        if (model.gradient(id)) ran.gradients.push_back(model.gradient_values(id));
    return ran;
}

ModelConfig with_quant(const std::string& norm, FakeQuant quant,
                       Recompute recompute = Recompute::none) {
    ModelConfig c = ModelCase{.norm = norm}.config();
    c.fake_quant = quant;
    c.recompute = recompute;
    return c;
}

Ran run(const ModelConfig& config) {
    Model<double> model(config, B, T);
    randomise(model, 1);
    return run(model);
}

}  // namespace

// The gradient at rounded weights, given to the weights themselves, is that of a model whose weights are so.
TEST_CASE("few bits: rounded weights are weights", "[few_bits][model]") {
    for (const char* const norm : {"peri", "pre", "post", "simple"})
        for (const FewBits format : {FewBits::int8, FewBits::int4_tensor, FewBits::e5m2}) {
            Model<double> rounded(with_quant(norm, {.weights = format}), B, T);
            Model<double> plain(with_quant(norm, {}), B, T);
            randomise(rounded, 1);
            randomise(plain, 1);
            const Ran unrounded = run(plain);
            for (int id = 0; id < static_cast<int>(plain.table().rows.size()); id++) {
                const Tensor& w = plain.table().rows[id];
                if (w.is_matrix() && id != plain.table().embedding && id != plain.table().head)
                    plain.set_values(id, of_rows(plain.values(id), w.rows, format));
            }
            const Ran ran = run(rounded);
            INFO(norm);
            CHECK(ran == run(plain));
            CHECK(ran.loss != unrounded.loss);
            Model<double> before(with_quant(norm, {}), B, T);
            randomise(before, 1);
            for (int id = 0; id < static_cast<int>(plain.table().rows.size()); id++)
                CHECK(rounded.values(id) == before.values(id));
        }
}

TEST_CASE("few bits: every hidden state is of the format", "[few_bits][model]") {
    for (const char* const norm : {"peri", "pre", "post", "deep", "simple"})
        for (const FewBits format : {FewBits::e4m3_sat, FewBits::e5m2, FewBits::bf16}) {
            const Ran ran = run(with_quant(norm, {.hidden = format}));
            INFO(norm);
            for (const std::vector<double>& x : ran.states) CHECK(of_rows(x, B * T, format) == x);
            CHECK(ran.loss != run(with_quant(norm, {})).loss);
        }
}

// Straight-through: a format that moves numbers by 2^-11 of themselves moves gradients by little more, where one
// that forward and backward rounded differently, or backward dropped, would not.
TEST_CASE("few bits: gradients pass as if nothing had been rounded", "[few_bits][model]") {
    for (const char* const norm : {"peri", "pre", "post", "keel"})
        for (const FakeQuant quant :
             {FakeQuant{.hidden = FewBits::fp16}, FakeQuant{.outputs = FewBits::fp16},
              FakeQuant{.weights = FewBits::fp16}}) {
            const Ran plain = run(with_quant(norm, {})), ran = run(with_quant(norm, quant));
            INFO(norm);
            CHECK(ran.loss != plain.loss);
            for (size_t i = 0; i < plain.gradients.size(); i++)
                // a few dozen roundings of 2^-11, and what they become on their way through the model
                CHECK(difference(ran.gradients[i], plain.gradients[i],
                                 0.05 * largest(plain.gradients[i])) == "");
        }
}

TEST_CASE("few bits: what is computed again is rounded again", "[few_bits][model]") {
    const FakeQuant all = {FewBits::int8, FewBits::e4m3, FewBits::int4};
    for (const char* const norm : {"peri", "post", "pre"}) {
        const Ran kept = run(with_quant(norm, all));
        CHECK(run(with_quant(norm, all, Recompute::norms)) == kept);
        CHECK(run(with_quant(norm, all, Recompute::sublayers)) == kept);
    }
}

TEST_CASE("few bits: rounded matrices are planned for", "[few_bits][model]") {
    const auto weights = [](FakeQuant quant) {
        return plan_memory<float>(with_quant("peri", quant), B, T, 2).weights;
    };
    CHECK(weights({.weights = FewBits::int8}) == 2 * weights({}));
    CHECK(weights({.hidden = FewBits::int8}) == weights({}));
}

TEST_CASE("--fake-quant: formats and places", "[few_bits][config]") {
    const FakeQuant three = parse_fake_quant("int8,int4-tensor:weights,e4m3-sat:outputs");
    CHECK(three.hidden == FewBits::int8);
    CHECK(three.weights == FewBits::int4_tensor);
    CHECK(three.outputs == FewBits::e4m3_sat);
    CHECK(!parse_fake_quant("none").any());
    for (const char* const wrong :
         {"", "int9", "int8:here", "int8,int4", "int8:weights,e4m3:weights", ":hidden",
          "int8:", ",", "none:hidden", "int8 ,int4:weights"}) {
        INFO(wrong);
        CHECK_THROWS_AS(parse_fake_quant(wrong), UserError);
    }
}
