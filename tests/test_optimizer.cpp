#include "catch.h"
#include "gradcheck.h"

using namespace peri;

namespace {

constexpr int steps = 5;
constexpr double scale_of_clip = 0.25;

// Five steps on the same gradients from m = v = 0; w is in and out, as its accumulated role says.
template <class T>
Problem<T> adamw(size_t n, AdamW settings, uint64_t seed) {
    using A = Accum<T>;
    Problem<T> p("adamw", {static_cast<long>(n)}, seed);
    A* const g = p.template input<A>("g", n);
    A* const scale = p.template input<A>("scale", 1);
    p.set("scale", {scale_of_clip});
    T* const w = p.template accumulated_output<T>("w", n, steps);
    A* const m = p.template output<A>("m", n, steps);
    A* const v = p.template output<A>("v", n, steps);
    p.forward = [=] {
        device_zero<T>(m, n * sizeof(A));
        device_zero<T>(v, n * sizeof(A));
        AdamW now = settings;
        for (now.step = 1; now.step <= steps; now.step++)
            adamw_update<T>(w, m, v, g, scale, n, now);
    };
    return p;
}

template <class T>
Problem<T> sgd(size_t n, Sgd settings, uint64_t seed) {
    using A = Accum<T>;
    Problem<T> p("sgd", {static_cast<long>(n)}, seed);
    A* const g = p.template input<A>("g", n);
    A* const scale = p.template input<A>("scale", 1);
    p.set("scale", {scale_of_clip});
    T* const w = p.template accumulated_output<T>("w", n, steps);
    A* const m = p.template output<A>("m", n, steps);
    p.forward = [=] {
        device_zero<T>(m, n * sizeof(A));
        for (int step = 1; step <= steps; step++) sgd_update<T>(w, m, g, scale, n, settings);
    };
    return p;
}

const AdamW usual{0.01, 0.9, 0.95, 1e-3, 0.1, 0};
const AdamW undecayed{0.1, 0.8, 0.999, 1e-8, 0, 0};
const Sgd with_momentum{0.1, 0.9, 0.01}, plain{0.1, 0, 0};
const size_t sizes[] = {1, 7, 33, 129};

template <class T>
Problem<T> squares(size_t n, uint64_t seed) {
    using A = Accum<T>;
    reserve_workspace<T>(sum_of_squares_workspace<T>(n));
    Problem<T> p("sum_of_squares", {static_cast<long>(n)}, seed);
    A* const g = p.template input<A>("g", n);
    double* const sum = p.template output<double>("sum", 1, 1);
    p.forward = [=] { sum_of_squares<T>(sum, g, n); };
    return p;
}

template <class T>
Problem<T> clip(double sum_value, double max_norm) {
    Problem<T> p("clip_scale", {}, 1);
    double* const sum = p.template input<double>("sum", 1);
    p.set("sum", {sum_value});
    double* const norm = p.template output<double>("norm", 1, 1);
    Accum<T>* const scale = p.template output<Accum<T>>("scale", 1, 1);
    p.forward = [=] { clip_scale<T>(norm, scale, sum, max_norm); };
    p.run();
    return p;
}

}  // namespace

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
            CHECK(difference(p.device_values("w"), w, 1e-14) == "");
            CHECK(difference(p.values("m"), m, 1e-15) == "");
            CHECK(difference(p.values("v"), v, 1e-15) == "");
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
        adamw_update<double>(p.at("w"), p.at("m"), p.at("v"), p.at("g"), p.at("scale"), 7, first);
    };
    p.run(Stage::forward);
    std::vector<double> step(7);
    for (int i = 0; i < 7; i++) step[i] = -first.lr * (g[i] > 0 ? 1 : -1);
    CHECK(difference(p.values("w"), step, 1e-7 * first.lr) == "");
    auto still = adamw<double>(7, usual, 1);
    still.set("g", std::vector<double>(7, 0.0));
    still.run();
    std::vector<double> w = still.before("w");
    for (double& value : w) value *= std::pow(1 - usual.lr * usual.weight_decay, steps);
    CHECK(difference(still.device_values("w"), w, 1e-14) == "");
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
            CHECK(difference(p.device_values("w"), w, 1e-14) == "");
            CHECK(difference(p.values("m"), m, 1e-14) == "");
            CHECK(p.errors() == "");
        }
}

TEST_CASE("optimizers: float against double", "[optimizer]") {
    // k = 8 for about a dozen roundings a step, over the root of the steps
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes) {
            CHECK(float_errors(adamw<float>(n, usual, seed), adamw<double>(n, usual, seed), 8) ==
                  "");
            CHECK(float_errors(sgd<float>(n, with_momentum, seed),
                               sgd<double>(n, with_momentum, seed), 8) == "");
        }
}

TEST_CASE("sum_of_squares: against the formula, for float in double all the same", "[optimizer]") {
    for (const size_t n : {size_t(1), size_t(7), size_t(65537), size_t(200003)}) {
        CAPTURE(n);
        auto p = squares<double>(n, 1);
        long double sum = 0;
        for (const double g : p.values("g")) sum += (long double)(g)*g;
        const double expected = static_cast<double>(sum);
        CHECK(difference(p.run().values("sum"), {expected}, 1e-13 * expected) == "");
        auto q = squares<float>(n, 1);
        CHECK(difference(q.run().values("sum"), {expected}, 1e-13 * expected) == "");
        CHECK(p.errors() + q.errors() == "");
    }
    auto large = squares<float>(3, 1);  // its squares are beyond float
    large.set("g", {1e30, 0, 0});
    CHECK(difference(large.run().values("sum"), {1e60}, 1e54) == "");
    large.set("g", {0, NAN, 0});
    CHECK(std::isnan(large.run().values("sum")[0]));
}

TEST_CASE("clip_scale: the larger norms are scaled to max_norm, no others", "[optimizer]") {
    CHECK(clip<double>(9, 0.5).values("norm")[0] == 3);
    CHECK(difference(clip<double>(9, 0.5).values("scale"), {0.5 / 3}, 1e-16) == "");
    CHECK(difference(clip<float>(9, 0.5).values("scale"), {0.5 / 3}, 1e-8) == "");
    CHECK(clip<double>(9, 3).values("scale")[0] == 1);
    CHECK(clip<double>(9, 4).values("scale")[0] == 1);
    CHECK(clip<double>(0, 1).values("scale")[0] == 1);
    CHECK(clip<double>(1e20, 0).values("scale")[0] == 1);  // no clipping
    CHECK(clip<float>(9, 0.5).errors() == "");
}

TEST_CASE("clip_scale: a norm that is not finite gives a scale of NaN", "[optimizer]") {
    for (const double max_norm : {0.0, 1.0})
        for (const double sum : {double(NAN), double(INFINITY)}) {
            CAPTURE(max_norm, sum);
            CHECK(std::isnan(clip<double>(sum, max_norm).values("scale")[0]));
            CHECK(std::isnan(clip<float>(sum, max_norm).values("scale")[0]));
            CHECK(!std::isfinite(clip<double>(sum, max_norm).values("norm")[0]));
        }
}

TEST_CASE("optimizers: the same bits twice", "[optimizer]") {
    CHECK(bit_errors([] { return adamw<float>(1001, usual, 1); }) == "");
    CHECK(bit_errors([] { return sgd<float>(1001, with_momentum, 1); }) == "");
    CHECK(bit_errors([] { return squares<float>(200003, 1); }) == "");
    CHECK(bit_errors([] { return squares<double>(200003, 1); }) == "");
}

TEST_CASE("sum_of_squares: the same bits for any number of threads", "[optimizer]") {
    std::vector<double> sums;
    for (const int n : {1, 2}) {
        const Threads only(n);
        sums.push_back(squares<float>(200003, 1).run().values("sum")[0]);
    }
    CHECK(bit_difference({sums[0]}, {sums[1]}) == "");
}
