// Each measurement against a computation of its own, in double, on small models.
#include "probe/probe.h"

#include <cmath>
#include <map>
#include <numbers>

#include "catch.h"
#include "helpers.h"
#include "models.h"
#include "probe/probe_file.h"
#include "random.h"
#include "run/metrics.h"
#include "store/files.h"
#include "tolerance.h"

using namespace peri;

namespace {

using Numbers = std::vector<double>;

// Odd on purpose. Without an embedding norm the hidden state 0 is rows of the embedding.
ModelConfig small_model(const std::string& norm, Choice embedding_norm = Choice::off,
                        int layers = 2) {
    ModelConfig c;
    c.norm = norm;
    c.layers = layers;
    c.width = 12;
    c.heads = c.kv_heads = 2;
    c.ffn = 19;
    c.vocab = 17;
    resolve(c, "auto", embedding_norm, Choice::automatic);
    return c;
}

// All tokens differ, so that row tokens[r] of the embedding is hidden state 0 of row r alone; two
// rows have no target.
constexpr int B = 2, T = 5, targeted = 8;
const Batch batch = {B, T, {3, 1, 4, 15, 9, 2, 6, 5, 0, 8}, {1, 4, 15, -1, 2, 6, 5, -1, 8, 11}};

// The one measurement of that name and layer; NaN where there is none, or more than one.
double value(const std::vector<Measurement>& list, const std::string& quantity,
             int layer = Measurement::whole_model) {
    double found = NAN;
    int count = 0;
    for (const Measurement& m : list)
        if (m.quantity == quantity && m.layer == layer) found = m.value, count++;
    return count == 1 ? found : NAN;
}

double length(const Numbers& x) {
    double sum = 0;
    for (const double v : x) sum += v * v;
    return std::sqrt(sum);
}

// mean x^2 - (mean x)^2
double variance_of(const Numbers& x) {
    double sum = 0;
    for (const double v : x) sum += v;
    const double n = static_cast<double>(x.size()), squares = length(x) * length(x);
    return squares / n - sum / n * (sum / n);
}

// dL/d hidden state 0 by central differences of step h, extrapolated once: of order h^4. Moves rows
// of the embedding.
Numbers gradient_by_differences(Model<double>& model) {
    const int id = model.table().embedding, C = model.config().width;
    const Numbers start = model.values(id);
    const auto loss_at = [&](size_t i, double t) {
        Numbers moved = start;
        moved[i] += t;
        model.set_values(id, moved);
        model.zero_loss();
        model.load(batch);
        model.forward();
        model.evaluate(targeted);
        return model.loss();
    };
    const auto slope = [&](size_t i, double h) {
        return (loss_at(i, h) - loss_at(i, -h)) / (2 * h);
    };
    Numbers gradient;
    for (const int token : batch.tokens)
        for (int c = 0; c < C; c++) {
            const size_t i = size_t(token) * C + c;
            gradient.push_back((4 * slope(i, 5e-4) - slope(i, 1e-3)) / 3);
        }
    model.set_values(id, start);
    return gradient;
}

// A model of the layers from `first` on, whose embedding holds what enters the first of them.
Model<double> tail(const Model<double>& whole, int first, const std::string& norm) {
    const int layers = whole.config().layers - first;
    Model<double> model(small_model(norm, Choice::off, layers), B, T);
    const TensorTable &from = whole.table(), &to = model.table();
    const auto copy = [&](int target, int source) {
        if (target >= 0) model.set_values(target, whole.values(source));
    };
    copy(to.head, from.head);
    copy(to.final_norm.gamma, from.final_norm.gamma);
    for (int s = 0; s < 2 * layers; s++) {
        const SubLayerIds &target = to.sublayers[s], &source = from.sublayers[s + 2 * first];
        copy(target.input_norm.gamma, source.input_norm.gamma);
        copy(target.output_norm.gamma, source.output_norm.gamma);
        copy(target.main_norm.gamma, source.main_norm.gamma);
        copy(target.q, source.q), copy(target.k, source.k), copy(target.v, source.v);
        copy(target.o, source.o), copy(target.gate, source.gate), copy(target.up, source.up);
        copy(target.down, source.down);
    }
    const Numbers state = whole.hidden_state(2 * first);
    const int C = whole.config().width;
    Numbers embedding = model.values(to.embedding);
    for (size_t r = 0; r < batch.tokens.size(); r++)
        for (int c = 0; c < C; c++) embedding[batch.tokens[r] * C + c] = state[r * C + c];
    model.set_values(to.embedding, embedding);
    return model;
}

Batch batch_of(const std::vector<int>& tokens) {
    return {1, static_cast<int>(tokens.size()), tokens, std::vector<int>(tokens.size(), -1)};
}

}  // namespace

// With all o and down matrices 0 every sub-layer of Pre-LN adds nothing: the variance stays that of
// the embedding, here 1, 2, ..., 12 times 1 and times 3.
TEST_CASE("the hidden state's variance: over the width, mean over tokens", "[probe]") {
    Model<double> model(small_model("pre"), 1, 2);
    Numbers embedding(64 * 12);
    for (int c = 0; c < 12; c++) {
        embedding[c] = c + 1;           // token 0: variance (12^2 - 1) / 12
        embedding[12 + c] = 3 * c + 3;  // token 1: nine times as much
    }
    model.set_values(model.table().embedding, embedding);
    const Numbers profile = hidden_variance(model, batch_of({0, 1}));
    REQUIRE(profile.size() == 5);  // before the first of four sub-layers, and after each
    for (const double v : profile) CHECK(v == about(143.0 / 12 * 5));
    const std::vector<Measurement> list = measure(model, batch_of({0, 1}));
    for (int s = 0; s <= 4; s++) {
        CHECK(value(list, "hidden_variance", s) == about(143.0 / 12 * 5));
        CHECK(value(list, "hidden_mean_abs", s) == about(13));
    }
    for (int s = 1; s <= 4; s++) {
        CHECK(value(list, "output_variance", s) == 0);
        CHECK(value(list, "residual_covariance", s) == 0);
    }
    CHECK(value(list, "growth_linear_slope") == near(0, roundings(900)));
}

// Var(y) = Var(x) + Var(a~) + 2 Cov(x, a~) where y = x + a~.
TEST_CASE("the terms of Eq. 4 add up", "[probe]") {
    for (const std::string norm : {"pre", "peri", "output", "olmo2", "simple"})
        for (const bool layernorm : {false, true})
            for (const Recompute recompute :
                 {Recompute::none, Recompute::norms, Recompute::sublayers}) {
                ModelConfig config = small_model(norm, Choice::automatic);
                config.layernorm = layernorm;
                config.recompute = recompute;
                Model<double> model(config, B, T);
                randomise(model, 3);
                const std::vector<Measurement> list = measure(model, batch);
                CAPTURE(norm, layernorm, word_for(recompute, recomputes()));
                for (int s = 1; s <= 4; s++) {
                    const double terms = value(list, "hidden_variance", s - 1) +
                                         value(list, "output_variance", s) +
                                         value(list, "residual_covariance", s);
                    CHECK(value(list, "hidden_variance", s) == about(terms, roundings(9000)));
                    CHECK(value(list, "output_variance", s) > 0.01);
                    CHECK(std::abs(value(list, "residual_covariance", s)) > 1e-4);
                }
            }
}

// DeepNorm's alpha is (2L)^(1/4), and with gamma 1 its y is o rstd.
TEST_CASE("alpha x is what a~ is added to", "[probe]") {
    ModelConfig config = small_model("deep");
    config.norm_eps = 0;
    Model<double> model(config, 1, 1);
    randomise(model, 4);
    for (const SubLayerIds& ids : model.table().sublayers)
        model.set_values(ids.main_norm.gamma, Numbers(12, 1));
    const std::vector<Measurement> list = measure(model, {1, 1, {3}, {1}});
    const double alpha = std::pow(4, 0.25);
    for (int s = 1; s <= 4; s++) {
        const double variance_of_o = alpha * alpha * value(list, "hidden_variance", s - 1) +
                                     value(list, "output_variance", s) +
                                     value(list, "residual_covariance", s);
        const double rstd =
            download_as_double<double>(model.activations().sublayers[s - 1].main_norm.rstd, 1)[0];
        CHECK(value(list, "hidden_variance", s) ==
              about(variance_of_o * rstd * rstd, roundings(9000)));
    }
}

// At hidden state 0 the embedding is moved; at 2, that of a model of the second layer alone.
TEST_CASE("gradients of hidden states against differences of the loss", "[probe]") {
    for (const std::string norm : {"post", "pre", "peri"}) {
        CAPTURE(norm);
        Model<double> model(small_model(norm), B, T);
        randomise(model, 5);
        const std::vector<Measurement> list = measure(model, batch);
        Model<double> second_layer = tail(model, 1, norm);
        const Numbers at_0 = gradient_by_differences(model);
        const Numbers at_2 = gradient_by_differences(second_layer);
        // rounding of the loss over h: 1e-12 of gradients of order 0.1
        CHECK(value(list, "hidden_gradient_norm", 0) == about(length(at_0), 1e-8));
        CHECK(value(list, "hidden_gradient_variance", 0) == about(variance_of(at_0), 1e-8));
        CHECK(value(list, "hidden_gradient_norm", 2) == about(length(at_2), 1e-8));
        CHECK(value(list, "hidden_gradient_variance", 2) == about(variance_of(at_2), 1e-8));
    }
}

TEST_CASE("gradients of weights: all matrices of a sub-layer together", "[probe]") {
    Model<double> model(small_model("simple"), B, T);
    randomise(model, 6);
    const std::vector<Measurement> list = measure(model, batch);
    model.zero_gradients();
    model.load(batch);
    model.forward();
    model.backward(targeted);
    const auto gradients = [&](const std::vector<std::string>& names) {
        Numbers all;
        for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
            for (const std::string& name : names)
                if (model.table().rows[id].name == name)
                    for (const double g : model.gradient_values(id)) all.push_back(g);
        return all;
    };
    const auto names = [](const SubLayerIds& ids, const TensorTable& table) {
        std::vector<std::string> list;
        for (const int id : {ids.q, ids.k, ids.v, ids.o, ids.gate, ids.up, ids.down})
            if (id >= 0) list.push_back(table.rows[id].name);
        return list;
    };
    for (int s = 1; s <= 4; s++) {
        const Numbers all = gradients(names(model.table().sublayers[s - 1], model.table()));
        REQUIRE(all.size() == (s % 2 ? 4 * 12 * 12u : 3 * 12 * 19u));
        CHECK(value(list, "weight_gradient_norm", s) == about(length(all), roundings(9000)));
        CHECK(value(list, "weight_gradient_variance", s) ==
              about(variance_of(all), roundings(9000)));
    }
    const int down = model.table().sublayers[3].down;
    CHECK(value(list, "last_layer_gradient") ==
          about(length(model.gradient_values(down)), roundings(9000)));
}

// With one token, and no norm between W_down and o, the gradient is h times dL/do: as large as the
// bound. With many it is a sum, and below; output norms only take away.
TEST_CASE("the last layer's gradient is within its bound", "[probe]") {
    for (const std::string& norm : placement_names())
        for (const bool layernorm : {false, true})
            for (const Recompute recompute : {Recompute::none, Recompute::sublayers}) {
                ModelConfig config = small_model(norm, Choice::automatic);
                config.layernorm = layernorm;
                config.recompute = recompute;
                Model<double> model(config, B, T);
                for (const uint64_t seed : {7, 8, 9}) {
                    randomise(model, seed);
                    for (const bool one : {false, true}) {
                        const auto list = measure(model, one ? Batch{1, 1, {3}, {1}} : batch);
                        const double gradient = value(list, "last_layer_gradient");
                        const double bound = value(list, "last_layer_bound");
                        CAPTURE(norm, layernorm, seed, one, gradient, bound);
                        CHECK(gradient <=
                              bound * (1 + allowed(roundings(9000))));  // equal but for rounding
                        CHECK(gradient > 1e-3 * bound);
                        const bool equal = one && !model.table().sublayers[3].output_norm;
                        CHECK((gradient > bound * (1 - allowed(roundings(9000)))) == equal);
                    }
                }
            }
}

// W_down times 10: with an output norm nothing changes behind it, and J_t is a tenth (eps = 0).
TEST_CASE("the bound's Jacobian: the largest gamma over the module's output", "[probe]") {
    ModelConfig config = small_model("peri");
    config.norm_eps = 0;
    Model<double> model(config, B, T);
    randomise(model, 10);
    const double before = value(measure(model, batch), "last_layer_bound");
    const SubLayerIds& last = model.table().sublayers[3];
    Numbers down = model.values(last.down);
    for (double& w : down) w *= 10;
    model.set_values(last.down, down);
    const double after = value(measure(model, batch), "last_layer_bound");
    CHECK(after == about(before / 10, roundings(9000)));

    // one token: |dL/do| max|gamma| rstd |h|
    const std::vector<Measurement> one = measure(model, {1, 1, {3}, {1}});
    const SubLayerActivations<double>& v = model.activations().sublayers[3];
    const Numbers a(v.a, v.a + 12), h(v.h, v.h + 19);
    double gamma = 0;
    for (const double g : model.values(last.output_norm.gamma)) gamma = std::max(gamma, g);
    const double rms = length(a) / std::sqrt(12);
    CHECK(value(one, "last_layer_bound") ==
          about(value(one, "hidden_gradient_norm", 4) * gamma / rms * length(h), roundings(9000)));
}

TEST_CASE("gammas of output norms, where there are any", "[probe]") {
    ModelConfig config = small_model("peri");
    Model<double> model(config, B, T);
    randomise(model, 11);
    Numbers gamma(12, 2);
    gamma[5] = -4;
    model.set_values(model.table().sublayers[2].output_norm.gamma, gamma);
    const std::vector<Measurement> list = measure(model, batch);
    CHECK(value(list, "output_gamma_mean", 3) == 1.5);
    CHECK(value(list, "output_gamma_min", 3) == -4);
    CHECK(value(list, "output_gamma_std", 3) == about(std::sqrt(2.75)));
    CHECK(value(list, "output_gamma_min", 4) >= 0.5);
    Model<double> pre(small_model("pre"), B, T);
    randomise(pre, 11);
    for (const Measurement& m : measure(pre, batch))
        CHECK(m.quantity.find("output_gamma") == std::string::npos);
}

TEST_CASE("angular distances of layers", "[probe]") {
    Model<double> model(small_model("peri", Choice::automatic, 3), B, T);
    randomise(model, 12);
    const std::vector<Measurement> list = measure(model, batch);
    int count = 0;
    for (const Measurement& m : list) count += m.quantity.rfind("angular_distance_", 0) == 0;
    CHECK(count == 6);  // (0,1) (1,2) (2,3), (0,2) (1,3), (0,3)
    for (int l = 0; l < 3; l++)
        for (int n = 1; l + n <= 3; n++) {
            const Numbers x = model.hidden_state(2 * l), y = model.hidden_state(2 * (l + n));
            double sum = 0;
            for (int r = 0; r < B * T; r++) {
                double xx = 0, yy = 0, xy = 0;
                for (int i = 12 * r; i < 12 * (r + 1); i++)
                    xx += x[i] * x[i], yy += y[i] * y[i], xy += x[i] * y[i];
                sum += std::acos(xy / std::sqrt(xx * yy)) / std::numbers::pi;
            }
            CHECK(value(list, "angular_distance_" + std::to_string(n), l) ==
                  about(sum / (B * T), roundings(9000)));
        }
}

TEST_CASE("angular distances reach over 24 layers", "[probe]") {
    ModelConfig config = small_config(26);
    Model<double> model(config, 1, 4);
    randomise(model, 12);
    const std::vector<Measurement> list = measure(model, {1, 4, {1, 2, 3, 4}, {2, 3, 4, 5}});
    const auto is_there = [&](const std::string& name) {
        return std::any_of(list.begin(), list.end(),
                           [&](const Measurement& m) { return m.quantity == name; });
    };
    CHECK(is_there("angular_distance_24"));
    CHECK_FALSE(is_there("angular_distance_25"));
}

// Of 256 channels two are a hundredth: here those with 4 and 9 of 4 + 9 + 254 x 1.
TEST_CASE("outliers are a hundredth of the channels", "[probe]") {
    ModelConfig config = small_config(1);
    config.norm = "pre";
    config.width = 256;
    resolve(config, "auto", Choice::off, Choice::automatic);
    Model<double> model(config, 1, 2);
    Numbers embedding(size_t(config.vocab_rows()) * 256, 1);
    for (size_t row = 0; row < embedding.size(); row += 256) {
        embedding[row + 5] = 2;
        embedding[row + 77] = -3;
    }
    model.set_values(model.table().embedding, embedding);
    const std::vector<Measurement> list = measure(model, {1, 2, {1, 2}, {2, 3}});
    CHECK(value(list, "outlier_share", 0) == about(13.0 / (13 + 254), 1e-9));
}

TEST_CASE("the largest numbers of all states, and those beyond fp16", "[probe]") {
    Model<double> model(small_model("pre"), B, T);  // o and down are 0: states are the embedding
    Numbers embedding(64 * 12, 1);
    embedding[4 * 12 + 7] = -70'000;
    embedding[9 * 12 + 1] = 65'504;
    embedding[2 * 12 + 2] = 1e6;
    embedding[11 * 12] = 1e9;  // a token that the batch does not have
    model.set_values(model.table().embedding, embedding);
    const std::vector<Measurement> list = measure(model, batch);
    for (int s = 0; s <= 4; s++) {
        CHECK(value(list, "beyond_fp16", s) == 2);
        CHECK(value(list, "not_finite", s) == 0);
        CHECK(value(list, "hidden_largest", s) == 1e6);
        // channels 2, 7 and 1 hold all but 1e-10: 1e12, r and s of that
        const double r = 4.9e-3, s2 = 65'504.0 * 65'504.0 * 1e-12;
        CHECK(value(list, "outlier_share", s) == near(1 / (1 + r + s2), 1e-9));
        const double kurtosis = 12 * (1 + r * r + s2 * s2) / std::pow(1 + r + s2, 2);
        CHECK(value(list, "outlier_kurtosis", s) == near(kurtosis, 1e-7));
        char name[32];
        std::snprintf(name, sizeof name, "largest_%03d", s + 1);
        CHECK(value(list, name, s) == 1e6);
    }
    CHECK(value(list, "largest_006", 0) == 70'000);
    CHECK(value(list, "largest_011", 0) == 65'504);
    CHECK(value(list, "largest_100", 0) == 1);
    CHECK(std::isnan(value(list, "largest_101", 0)));
}

// A number beyond 65,504 lies in fp16 as infinity, and is counted so where it lies.
TEST_CASE("of fp16 the states are counted as they are stored", "[probe]") {
    Model<fp16> model(small_model("pre"), B, T);
    Numbers embedding(64 * 12, 1);
    embedding[4 * 12 + 7] = -70'000;
    embedding[2 * 12 + 2] = 65'504;
    model.set_values(model.table().embedding, embedding);
    const std::vector<Measurement> list = measure(model, batch);
    CHECK(value(list, "beyond_fp16", 0) == 1);
    CHECK(value(list, "not_finite", 0) == 1);
    CHECK(std::isinf(value(list, "hidden_largest", 0)));
}

// Names and layers are the same, and where fp32 computes, its rounding is all that differs.
TEST_CASE("measurements of float and bf16 are those of double", "[probe]") {
    for (const std::string norm : {"post:1,peri:1", "pre", "olmo2", "keel"}) {
        Model<double> oracle(small_model(norm, Choice::automatic), B, T);
        Model<float> single(small_model(norm, Choice::automatic), B, T);
        Model<bf16> half(small_model(norm, Choice::automatic), B, T);
        randomise(oracle, 13);
        randomise(single, 13);
        randomise(half, 13);
        const std::vector<Measurement> expected = measure(oracle, batch),
                                       got = measure(single, batch), rough = measure(half, batch);
        REQUIRE(got.size() == expected.size());
        REQUIRE(rough.size() == expected.size());
        std::map<std::string, double> largest;  // of a quantity, whatever the layer
        for (const Measurement& m : expected)
            largest[m.quantity] = std::max(largest[m.quantity], std::abs(m.value));
        for (size_t i = 0; i < got.size(); i++) {
            CAPTURE(norm, i, expected[i].quantity, expected[i].layer);
            CHECK(got[i].quantity == expected[i].quantity);
            CHECK(rough[i].quantity == expected[i].quantity);
            if (expected[i].quantity.rfind("largest", 0) != 0)  // equals may change places
                CHECK(got[i].layer == expected[i].layer);
            const double value = expected[i].value, size = largest[expected[i].quantity];
            // fp32 rounds to 6e-8; sums of some hundred numbers, four sub-layers, and terms that
            // partly cancel leave four digits
            CHECK(got[i].value == near(value, 1e-4 * size));
            CHECK(rough[i].value == near(value, 0.3 * size));
        }
    }
}

TEST_CASE("a batch without targets, and a model that has diverged", "[probe]") {
    Model<float> model(small_model("peri"), B, T);
    randomise(model, 14);
    const std::vector<Measurement> silent = measure(model, batch_of({1, 2, 3}));
    CHECK(value(silent, "hidden_gradient_norm", 0) == 0);
    CHECK(value(silent, "last_layer_bound") == 0);
    for (const Measurement& m : silent) CHECK(std::isfinite(m.value));
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        model.set_values(id, Numbers(model.table().rows[id].size(), NAN));
    for (const Measurement& m : measure(model, batch)) {
        CAPTURE(m.quantity, m.layer);
        if (m.quantity == "beyond_fp16" || m.quantity == "not_finite")
            CHECK(m.value == B * T * 12);
        else
            CHECK(csv_row(7, m).substr(csv_row(7, m).rfind(',')) == ",nan");
    }
}

TEST_CASE("rows of probe.csv", "[probe]") {
    CHECK(csv_row(12, {3, "hidden_variance", 0.1}) == "12,3,hidden_variance,0.1");
    CHECK(csv_row(0, {Measurement::whole_model, "spike", 1e-9 / 3}) == "0,,spike,3.33333333e-10");
    CHECK(csv_row(1, {0, "x", -NAN}) == "1,0,x,nan");
    CHECK(csv_row(1, {0, "x", INFINITY}) == "1,0,x,inf");
}

// A run that goes on after step 24 of 40 repeats the spikes and the measurements after it. Most norms
// are 1 and half a digit more than metrics.csv has, which a ratio would show.
TEST_CASE("probe.csv of a run that goes on is that of a whole one", "[probe]") {
    const auto norm_at = [](int64_t step) { return step % 7 ? 1 + 4.9e-9 : 3.5; };
    const auto run = [&](const std::string& folder, int64_t done, int64_t last) {
        std::vector<StepMetrics> earlier;
        for (int64_t step = 1; step <= done; step++)
            earlier.push_back({step, 0, 0, as_written(norm_at(step)), 0, 0, 0});
        ProbeFile file(folder, done, earlier);
        if (done == 0) file.add(0, {{1, "a", 0.5}, {2, "b", 2}});
        for (int64_t step = done + 1; step <= last; step++) {
            file.after({step, 0, 0, norm_at(step), 0, 0, 0});
            if (step % 8 == 0) file.add(step, {{1, "a", double(step)}, {2, "b", -1}});
        }
    };
    const TemporaryDirectory whole, cut;
    run(whole / "", 0, 40);
    run(cut / "", 0, 5);
    run(cut / "", 0, 30);  // no checkpoint was there: from the beginning
    run(cut / "", 24, 40);
    const std::string text = read_text(whole / "probe.csv");
    CHECK(read_text(cut / "probe.csv") == text);
    CHECK(text.rfind("step,layer,quantity,value\n0,1,a,0.5\n0,2,b,2\n8,1,a,8\n", 0) == 0);
    CHECK_THAT(text, contains("\n21,,spike,3.5\n") && contains("\n35,,spike,3.5\n"));
    CHECK(text.find("14,,spike") == std::string::npos);
}
