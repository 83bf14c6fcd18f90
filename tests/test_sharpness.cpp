#include "probe/sharpness.h"

#include <cmath>
#include <numbers>

#include "catch.h"
#include "helpers.h"
#include "model_cases.h"
#include "tolerance.h"

using namespace peri;

namespace {

using Numbers = std::vector<double>;
using Matrix = std::vector<Numbers>;

Numbers product(const Matrix& a, const Numbers& v) {
    Numbers result(a.size());
    for (size_t i = 0; i < a.size(); i++) result[i] = dot(a[i], v);
    return result;
}

// All eigenvalues of a symmetric matrix, by Jacobi's rotations until nothing is left beside the diagonal.
Numbers eigenvalues(Matrix a) {
    const size_t n = a.size();
    for (int sweep = 0; sweep < 30; sweep++)
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++) {
                if (a[p][q] == 0) continue;
                const double angle = std::atan2(2 * a[p][q], a[q][q] - a[p][p]) / 2;
                const double c = std::cos(angle), s = std::sin(angle);
                for (size_t k = 0; k < n; k++) {
                    const double kp = a[k][p], kq = a[k][q];
                    a[k][p] = c * kp - s * kq;
                    a[k][q] = s * kp + c * kq;
                }
                for (size_t k = 0; k < n; k++) {
                    const double pk = a[p][k], qk = a[q][k];
                    a[p][k] = c * pk - s * qk;
                    a[q][k] = s * pk + c * qk;
                }
            }
    Numbers values;
    for (size_t i = 0; i < n; i++) values.push_back(a[i][i]);
    std::sort(values.begin(), values.end());
    return values;
}

Matrix random_symmetric(size_t n, double shift, uint64_t seed) {
    Rng rng(seed);
    Matrix a(n, Numbers(n));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) a[i][j] = a[j][i] = rng.normal() + (i == j ? shift : 0);
    return a;
}

// As small as a model gets, and a batch.
ModelConfig tiny(const std::string& norm) {
    ModelConfig c;
    c.norm = norm;
    c.layers = 1;
    c.width = 2;
    c.heads = c.kv_heads = 1;
    c.ffn = 3;
    c.vocab = 3;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

Batch tiny_batch() { return {1, 3, {0, 2, 1}, {2, 1, 1}}; }

// The weights that a gradient reaches: without the rows that only pad the vocabulary.
std::vector<double*> used_weights(Model<double>& model) {
    std::vector<double*> all;
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++) {
        const bool of_tokens = id == model.table().embedding || id == model.table().head;
        const size_t n = of_tokens ? size_t(model.config().vocab) * model.config().width
                                   : model.table().rows[id].size();
        model.visit(id, [&](double* w) {
            for (size_t i = 0; i < n; i++) all.push_back(w + i);
        });
    }
    return all;
}

double loss_at(Model<double>& model) {
    model.zero_loss();
    model.forward();
    model.evaluate(3);
    return model.loss();
}

// d^2 f along a direction from nine values, with an error of h^8.
template <class At>
double second_difference(At at, double h) {
    const auto both = [&](int k) { return at(k * h) + at(-k * h); };
    return (-205.0 / 72 * at(0) + 8.0 / 5 * both(1) - 1.0 / 5 * both(2) + 8.0 / 315 * both(3) -
            1.0 / 560 * both(4)) /
           (h * h);
}

// The Hessian from values of the loss alone: by polarisation, H_ij = (D_{i+j} - D_{i-j}) / 4.
Matrix exact_hessian(Model<double>& model) {
    constexpr double h = 1e-3;  // the losses' last digits, 2e-16, become 1e-9 or so
    const std::vector<double*> w = used_weights(model);
    Matrix hessian(w.size(), Numbers(w.size()));
    const auto along = [&](size_t i, size_t j, double sign) {
        const double wi = *w[i], wj = *w[j];
        const double d = second_difference(
            [&](double t) {
                *w[i] = wi;
                *w[j] = wj;
                *w[i] += t;
                *w[j] += sign * t;
                return loss_at(model);
            },
            h);
        *w[i] = wi;
        *w[j] = wj;
        return d;
    };
    for (size_t i = 0; i < w.size(); i++)
        for (size_t j = 0; j <= i; j++)
            hessian[i][j] = hessian[j][i] =
                i == j ? along(i, i, 0) : (along(i, j, 1) - along(i, j, -1)) / 4;
    return hessian;
}

}  // namespace

TEST_CASE("Lanczos finds the extreme eigenvalues", "[sharpness]") {
    for (const uint64_t seed : {1, 2, 3})
        for (const double shift : {0.0, 9.0, -9.0}) {
            const Matrix a = random_symmetric(23, shift, seed);
            const Numbers all = eigenvalues(a);
            double trace = 0, sum = 0;
            for (size_t i = 0; i < a.size(); i++) trace += a[i][i], sum += all[i];
            REQUIRE(sum == near(trace, 1e-11));
            const Ends ends = extreme_eigenvalues([&](const Numbers& v) { return product(a, v); },
                                                  a.size(), seed, 0, 60);
            CHECK(ends.largest == near(all.back(), 1e-10));
            CHECK(ends.smallest == near(all.front(), 1e-10));
        }
    const Ends one =
        extreme_eigenvalues([](const Numbers& v) { return Numbers{-3 * v[0]}; }, 1, 1, 1e-3, 9);
    CHECK(one.largest == near(-3, 1e-14));
    const Ends none =
        extreme_eigenvalues([](const Numbers& v) { return Numbers(v.size()); }, 5, 1, 1e-3, 9);
    CHECK((none.largest == 0 && none.smallest == 0));
    const Ends lost =
        extreme_eigenvalues([](const Numbers& v) { return Numbers(v.size(), NAN); }, 5, 1, 1e-3, 9);
    CHECK((std::isnan(lost.largest) && std::isnan(lost.smallest)));
}

TEST_CASE("sharpness is that of the exact Hessian", "[sharpness]") {
    const Threads only(1);
    for (const char* const norm : {"peri", "pre", "post"}) {
        Model<double> model(tiny(norm), 1, 3);
        randomise(model, 5);
        model.load(tiny_batch());
        const Numbers exact = eigenvalues(exact_hessian(model));
        Curvature curvature(model, tiny_batch());
        const Ends ends = extreme_eigenvalues([&](const Numbers& v) { return curvature.times(v); },
                                              curvature.weight_count(), 1, 0, 150);
        CAPTURE(norm, exact.front(), exact.back());
        const double size = std::max(-exact.front(), exact.back());
        CHECK(ends.largest == near(exact.back(), 1e-6 * size));
        CHECK(ends.smallest == near(exact.front(), 1e-6 * size));
        CHECK(exact.back() > 0.01);
    }
}

// Along any direction v, v H_xx v is the second derivative of the loss, of which backward knows nothing.
TEST_CASE("curvature with respect to a hidden state", "[sharpness]") {
    const Threads only(1);
    for (const char* const norm : {"peri", "pre", "post"}) {
        const ModelConfig config = ModelCase{.norm = norm}.config();
        Model<double> model(config, B, T);
        randomise(model, 3);
        const Batch batch = random_batch(config.vocab, 2);
        Curvature curvature(model, batch);
        model.load(batch);
        for (const int s : {0, 1, model.sublayer_count()}) {
            Rng rng(s);
            Numbers v(curvature.state_size());
            for (double& x : v) x = rng.normal();
            const auto loss_along = [&](double t) {
                model.zero_loss();
                model.forward([&](const Passed<double>& passed) {
                    if (passed.s != s) return;
                    const Activations<double>& act = model.activations();
                    double* const x = s == 0 ? act.x0 : act.sublayers[s - 1].y;
                    for (size_t i = 0; i < v.size(); i++) x[i] += t * v[i];
                });
                model.evaluate(targeted);
                return model.loss();
            };
            const double slope = (loss_along(1e-5) - loss_along(-1e-5)) / 2e-5;
            const double bend = second_difference(loss_along, 1e-3);
            CAPTURE(norm, s, slope, bend);
            CHECK(dot(curvature.state_gradient(s, {}), v) ==
                  near(slope, 1e-8 * (1 + std::abs(slope))));
            CHECK(dot(curvature.state_times(s, v), v) == near(bend, 1e-5 * (1 + std::abs(bend))));
        }
    }
}

TEST_CASE("Adam's scale is what it divides by", "[sharpness]") {
    Model<double> model(tiny("peri"), 1, 3);
    randomise(model, 5);
    const OptimizerSettings settings = {.beta2 = 0.9, .eps = 1e-3, .clip = 0};
    Optimizer<double> optimizer(model, settings);
    CHECK(adam_scale(model, optimizer, settings).empty());
    const Batch batch = tiny_batch();
    std::vector<Numbers> gradients;
    for (int step = 0; step < 2; step++) {
        model.zero_gradients();
        forward_backward(model, batch, 1);
        Numbers all;
        for (const auto& part : gradients_of(model))
            all.insert(all.end(), part.begin(), part.end());
        gradients.push_back(all);
        optimizer.step(0);
    }
    const Numbers scale = adam_scale(model, optimizer, settings);
    REQUIRE(scale.size() == gradients[0].size());
    REQUIRE(scale.size() == Curvature(model, batch).weight_count());
    for (size_t i = 0; i < scale.size(); i++) {
        const double v = 0.1 * (0.9 * std::pow(gradients[0][i], 2) + std::pow(gradients[1][i], 2));
        CHECK(scale[i] == near(std::sqrt(v / (1 - 0.81)) + 1e-3, 1e-12));
    }
    CHECK(adam_scale(model, optimizer, {.sgd = true}).empty());
}

// Each row is the eigenvalue that its name says, to Lanczos' tolerance of a thousandth.
TEST_CASE("the rows of sharpness are the exact Hessians' eigenvalues", "[sharpness]") {
    const Threads only(1);
    Model<double> model(tiny("peri"), 1, 3);
    randomise(model, 5);
    const OptimizerSettings settings = {.beta2 = 0.9, .eps = 1e-3, .clip = 0};
    Optimizer<double> optimizer(model, settings);
    const Batch batch = tiny_batch();
    model.zero_gradients();
    forward_backward(model, batch, 1);
    optimizer.step(0);
    const std::vector<Measurement> rows = sharpness(model, optimizer, settings, batch);
    const auto value = [&](const std::string& name, int layer = Measurement::whole_model) {
        for (const Measurement& m : rows)
            if (m.quantity == name && m.layer == layer) return m.value;
        return double(NAN);
    };
    model.load(batch);
    Matrix hessian = exact_hessian(model);
    const Numbers ends = eigenvalues(hessian);
    const double size = std::max(-ends.front(), ends.back());
    CHECK(value("sharpness") == near(ends.back(), 5e-3 * size));
    CHECK(value("sharpness_least") == near(ends.front(), 5e-3 * size));

    Numbers scale;  // of the weights that a gradient reaches
    const Numbers all = adam_scale(model, optimizer, settings);
    for (size_t id = 0, first = 0; id < model.table().rows.size(); id++) {
        const Tensor& tensor = model.table().rows[id];
        const bool of_tokens = int(id) == model.table().embedding || int(id) == model.table().head;
        const size_t used = of_tokens ? size_t(model.config().vocab) * tensor.cols : tensor.size();
        scale.insert(scale.end(), all.begin() + long(first), all.begin() + long(first + used));
        first += tensor.size();
    }
    REQUIRE(scale.size() == hessian.size());
    for (size_t i = 0; i < scale.size(); i++)
        for (size_t j = 0; j < scale.size(); j++) hessian[i][j] /= std::sqrt(scale[i] * scale[j]);
    const Numbers scaled = eigenvalues(hessian);
    CHECK(value("sharpness_adam") ==
          near(scaled.back(), 5e-3 * std::max(-scaled.front(), scaled.back())));

    Curvature curvature(model, batch);
    for (const int s : {0, 1, 2}) {  // S = 2
        Matrix of_state(curvature.state_size());
        for (size_t i = 0; i < of_state.size(); i++) {
            Numbers unit(of_state.size());
            unit[i] = 1;
            of_state[i] = curvature.state_times(s, unit);
        }
        for (size_t i = 0; i < of_state.size(); i++)
            for (size_t j = 0; j < i; j++)
                of_state[i][j] = of_state[j][i] = (of_state[i][j] + of_state[j][i]) / 2;
        const Numbers states = eigenvalues(of_state);
        const double most = std::max(-states.front(), states.back());
        CAPTURE(s, states.front(), states.back());
        CHECK(most > 1e-3);
        CHECK(value("hidden_sharpness", s) == near(most, 5e-3 * most));
    }
}

TEST_CASE("sharpness measures a model and leaves it as it is", "[sharpness]") {
    Model<float> model(ModelCase{.norm = "peri"}.config(), B, T);
    randomise(model, 4);
    const OptimizerSettings settings;
    Optimizer<float> optimizer(model, settings);
    const Batch batch = random_batch(model.config().vocab, 2);
    const Numbers before = model.values(model.table().head);
    const auto names = [&] {
        std::vector<std::string> list;
        for (const Measurement& m : sharpness(model, optimizer, settings, batch)) {
            list.push_back(m.quantity + " " + std::to_string(m.layer));
            CHECK(std::isfinite(m.value));
        }
        return list;
    };
    CHECK(names() == std::vector<std::string>{"sharpness -1", "sharpness_least -1",
                                              "hidden_sharpness 0", "hidden_sharpness 2",
                                              "hidden_sharpness 4"});
    forward_backward(model, batch, B);
    optimizer.step(0);
    CHECK(names()[2] == "sharpness_adam -1");
    CHECK(model.values(model.table().head) == before);
}
