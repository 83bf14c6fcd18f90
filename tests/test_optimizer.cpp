#include "catch.h"
#include "gradcheck.h"
#include "model_cases.h"
#include "optimizer.h"
#include "problems/optimizer.h"

using namespace peri;

TEST_CASE("adamw: five steps against the formula", "[optimizer]") {
    for (const uint64_t seed : seeds)
        for (const AdamW& a : {usual, undecayed}) {
            CAPTURE(seed, a.lr);
            auto p = adamw<double>(33, a, seed);
            p.run();
            std::vector<double> w = p.before("w"), m(33), v(33);
            const std::vector<double> g = p.values("g");
            for (int step = 1; step <= steps; step++)
                for (int i = 0; i < 33; i++) {
                    const double gradient = scale_of_clip * g[i];
                    m[i] = a.beta1 * m[i] + (1 - a.beta1) * gradient;
                    v[i] = a.beta2 * v[i] + (1 - a.beta2) * gradient * gradient;
                    const double m_hat = m[i] / (1 - std::pow(a.beta1, step));
                    const double v_hat = v[i] / (1 - std::pow(a.beta2, step));
                    w[i] -= a.lr * (m_hat / (std::sqrt(v_hat) + a.eps) + a.weight_decay * w[i]);
                }
            CHECK(difference(p.device_values("w"), w, roundings(steps * 16)) == "");
            CHECK(difference(p.values("m"), m, roundings(steps * 4)) == "");
            CHECK(difference(p.values("v"), v, roundings(steps * 4)) == "");
            CHECK(p.errors() == "");
        }
}

TEST_CASE("adamw: the first step goes lr against the sign, decay needs no gradient",
          "[optimizer]") {
    AdamW first = undecayed;
    first.step = 1;
    auto p = adamw<double>(7, first, 1);
    p.run(Stage::forward);
    const std::vector<double> g = p.values("g");
    p.forward = [&] {
        device_zero<double>(p.at("m"), 7 * sizeof(double));
        device_zero<double>(p.at("v"), 7 * sizeof(double));
        adamw_update<double>(p.at("w"), nullptr, p.at("m"), p.at("v"), p.at("g"), p.at("scale"), 7,
                             first);
    };
    p.run(Stage::forward);
    std::vector<double> step(7);
    for (int i = 0; i < 7; i++) {  // all but the sign: eps
        const double gradient = scale_of_clip * g[i];
        step[i] = -first.lr * gradient / (std::abs(gradient) + first.eps);
    }
    CHECK(difference(p.values("w"), step, roundings(16)) == "");
    auto still = adamw<double>(7, usual, 1);
    still.set("g", std::vector<double>(7, 0.0));
    still.run();
    std::vector<double> w = still.before("w");
    for (double& value : w) value *= std::pow(1 - usual.lr * usual.weight_decay, steps);
    CHECK(difference(still.device_values("w"), w, roundings(steps * 8)) == "");
}

TEST_CASE("sgd: five steps against the formula", "[optimizer]") {
    for (const uint64_t seed : seeds)
        for (const Sgd& s : {with_momentum, plain}) {
            CAPTURE(seed, s.momentum);
            auto p = sgd<double>(33, s, seed);
            p.run();
            std::vector<double> w = p.before("w"), m(33);
            const std::vector<double> g = p.values("g");
            for (int step = 1; step <= steps; step++)
                for (int i = 0; i < 33; i++) {
                    m[i] = s.momentum * m[i] + scale_of_clip * g[i] + s.weight_decay * w[i];
                    w[i] -= s.lr * m[i];
                }
            CHECK(difference(p.device_values("w"), w, roundings(steps * 16)) == "");
            CHECK(difference(p.values("m"), m, roundings(steps * 16)) == "");
            CHECK(p.errors() == "");
        }
}

// What is given to Optimizer is what the kernels get, each in its place: no two settings are alike.
TEST_CASE("the optimizer of a model: two steps against the formulas", "[optimizer]") {
    for (const bool is_sgd : {false, true})
        for (const double share : {0.0, 0.25}) {  // of the first gradient's norm, to clip at
            CAPTURE(is_sgd, share);
            Model<double> model(ModelCase{.norm = "peri"}.config(), B, T);
            randomise(model, 7);
            model.load(random_batch(model.config().vocab, 3));
            const auto norm_of = [&] {
                double squares = 0;
                for (const auto& g : gradients_of(model)) squares += dot(g, g);
                return std::sqrt(squares);
            };
            const OptimizerSettings o = {.sgd = is_sgd,
                                         .beta1 = 0.8,
                                         .beta2 = 0.9,
                                         .eps = 1e-3,
                                         .momentum = 0.7,
                                         .weight_decay = 0.2,
                                         .clip = share * norm_of()};
            Optimizer<double> optimizer(model, o);
            constexpr double lr = 0.03;
            const size_t tensors = model.table().rows.size();
            std::vector<std::vector<double>> w(tensors), m(tensors), v(tensors);
            for (size_t id = 0; id < tensors; id++) {
                w[id] = model.values(int(id));
                m[id] = v[id] = std::vector<double>(w[id].size());
            }
            for (int step = 1; step <= 2; step++) {
                const double norm = norm_of(),
                             scale = o.clip > 0 ? std::min(1.0, o.clip / norm) : 1;
                const auto gradients = gradients_of(model);
                optimizer.step(lr);
                CHECK(optimizer.gradient_norm() == near(norm, 1e-12 * norm));
                for (size_t id = 0; id < tensors; id++) {
                    const double decay = model.table().rows[id].decayed ? o.weight_decay : 0;
                    for (size_t i = 0; i < gradients[id].size(); i++) {
                        const double g = scale * gradients[id][i];
                        double& x = w[id][i];
                        if (is_sgd) {
                            m[id][i] = o.momentum * m[id][i] + g + decay * x;
                            x -= lr * m[id][i];
                            continue;
                        }
                        m[id][i] = o.beta1 * m[id][i] + (1 - o.beta1) * g;
                        v[id][i] = o.beta2 * v[id][i] + (1 - o.beta2) * g * g;
                        const double m_hat = m[id][i] / (1 - std::pow(o.beta1, step));
                        const double v_hat = v[id][i] / (1 - std::pow(o.beta2, step));
                        x -= lr * (m_hat / (std::sqrt(v_hat) + o.eps) + decay * x);
                    }
                    CHECK(difference(model.values(int(id)), w[id], 1e-11 * (1 + largest(w[id]))) ==
                          "");
                }
            }
        }
}

TEST_CASE("sum_of_squares: against the formula", "[optimizer]") {
    for (const size_t n : {size_t(1), size_t(7), size_t(65537), size_t(200003)}) {
        CAPTURE(n);
        auto p = squares<double>(n, 1);
        const std::vector<double> g = p.values("g");
        std::vector<double> expected, allowed;
        for (size_t begin = 0; begin < n; begin += square_block) {
            const size_t end = std::min(n, begin + square_block);
            long double sum = 0;
            for (size_t i = begin; i < end; i++) sum += (long double)(g[i]) * g[i];
            expected.push_back(static_cast<double>(sum));
            // squares and sums of positive numbers, in any order
            allowed.push_back(roundings(end - begin) * expected.back());
        }
        CHECK(difference(p.run().values("sums"), expected, allowed) == "");
        CHECK(p.errors() == "");
    }
}

TEST_CASE("clip_scale: the larger norms are scaled to max_norm, no others", "[optimizer]") {
    const auto scale = [](double sum, double max_norm) {
        return clip<double>({sum}, max_norm).run().values("scale")[0];
    };
    CHECK(clip<double>({1, 3, 5}, 0.5).run().values("norm")[0] == 3);
    CHECK(difference({scale(9, 0.5)}, {0.5 / 3}, roundings(1)) == "");
    CHECK(scale(9, 3) == 1);
    CHECK(scale(9, 4) == 1);
    CHECK(scale(0, 1) == 1);
    CHECK(scale(1e20, 0) == 1);  // no clipping
    CHECK(clip<double>({1, 3, 5}, 0.5).run().errors() == "");
}

TEST_CASE("clip_scale: a norm that is not finite gives a scale of NaN", "[optimizer]") {
    for (const double max_norm : {0.0, 1.0})
        for (const double sum : {double(NAN), double(INFINITY)}) {
            CAPTURE(max_norm, sum);
            auto p = clip<double>({1, sum, 1}, max_norm);
            CHECK(std::isnan(p.run().values("scale")[0]));
            CHECK(!std::isfinite(p.values("norm")[0]));
        }
}

TEST_CASE("sum_of_squares: the same bits for any number of threads", "[optimizer]") {
    warn_of_one_thread();
    std::vector<std::vector<double>> sums;
    for (const int n : {1, 2}) {
        const Threads only(n);
        sums.push_back(squares<double>(200003, 1).run().values("sums"));
    }
    CHECK(bit_difference(sums[0], sums[1]) == "");
}
