#include "catch.h"
#include "gradcheck.h"

using namespace peri;

namespace {

constexpr int steps = 5;
constexpr double scale_of_clip = 0.25;

// The weights that a kernel is given. `exact` is w, or master where T has masters; then w is only
// written.
template <class T>
struct Weights {
    T* w;
    Accum<T>* master;

    Weights(Problem<T>& p, Accum<T>* exact) {
        if constexpr (has_masters<T>) {
            master = exact;
            w = p.output("rounded w", p.slot("w").n, steps);
        } else {
            master = nullptr;
            w = exact;
        }
    }
};

// So many steps on the same gradients from m = v = 0; w is in and out, as its accumulated role
// says.
template <class T>
Problem<T> adamw(size_t n, AdamW settings, uint64_t seed, int count = steps) {
    using A = Accum<T>;
    Problem<T> p("adamw", {static_cast<long>(n)}, seed);
    A* const g = p.template input<A>("g", n);
    A* const scale = p.template input<A>("scale", 1);
    p.set("scale", {scale_of_clip});
    A* const exact = p.template accumulated_output<A>("w", n, steps);
    A* const m = p.template output<A>("m", n, steps);
    A* const v = p.template output<A>("v", n, steps);
    const Weights<T> weights(p, exact);
    p.forward = [=] {
        device_zero<T>(m, n * sizeof(A));
        device_zero<T>(v, n * sizeof(A));
        AdamW now = settings;
        for (now.step = 1; now.step <= count; now.step++)
            adamw_update<T>(weights.w, weights.master, m, v, g, scale, n, now);
    };
    return p;
}

template <class T>
Problem<T> sgd(size_t n, Sgd settings, uint64_t seed, int count = steps) {
    using A = Accum<T>;
    Problem<T> p("sgd", {static_cast<long>(n)}, seed);
    A* const g = p.template input<A>("g", n);
    A* const scale = p.template input<A>("scale", 1);
    p.set("scale", {scale_of_clip});
    A* const exact = p.template accumulated_output<A>("w", n, steps);
    A* const m = p.template output<A>("m", n, steps);
    const Weights<T> weights(p, exact);
    p.forward = [=] {
        device_zero<T>(m, n * sizeof(A));
        for (int step = 1; step <= count; step++)
            sgd_update<T>(weights.w, weights.master, m, g, scale, n, settings);
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

std::vector<double> rounded_to_bf16(const std::vector<double>& values) {
    std::vector<double> result;
    for (const double v : values) result.push_back(bf16(static_cast<float>(v)));
    return result;
}

// What bf16 makes of five steps that float takes too.
std::string master_errors(Problem<bf16> narrow, Problem<float> wide) {
    narrow.run();
    wide.run();
    std::string errors = narrow.errors() + wide.errors();
    for (const Slot<float>& s : wide.slots())
        if (s.stage != Stage::given)
            errors += bit_difference(narrow.values(s.name), wide.values(s.name));
    return errors +
           bit_difference(narrow.values("rounded w"), rounded_to_bf16(narrow.device_values("w")));
}

// One small step is lost on weights in bf16, a thousand are not: "" when that is so.
std::string lost_steps(Problem<bf16> one, Problem<bf16> thousand) {
    one.run();
    thousand.run();
    const std::vector<double> start = one.before("w"), end = thousand.values("rounded w");
    std::string errors = one.errors() + thousand.errors() +
                         bit_difference(one.values("rounded w"), start) +
                         bit_difference(end, rounded_to_bf16(thousand.device_values("w")));
    for (size_t i = 0; i < start.size(); i++)
        if (end[i] == start[i]) errors += "weight " + std::to_string(i) + " has not moved\n";
    return errors;
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
        adamw_update<double>(p.at("w"), nullptr, p.at("m"), p.at("v"), p.at("g"), p.at("scale"), 7,
                             first);
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

TEST_CASE("optimizers: bf16's master weights are float's weights, its weights their rounding",
          "[optimizer]") {
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes) {
            CAPTURE(seed, n);
            CHECK(master_errors(adamw<bf16>(n, usual, seed), adamw<float>(n, usual, seed)) == "");
            CHECK(master_errors(sgd<bf16>(n, with_momentum, seed),
                                sgd<float>(n, with_momentum, seed)) == "");
        }
}

TEST_CASE("optimizers: updates too small for bf16 add up", "[optimizer]") {
    // Weights of 0.5 to 1.5 are 2^-8 or 2^-7 apart. A step moves them by lr or by lr 0.25 |g|, at
    // most 4e-5: less than half of that. A thousand move them by 0.0125 at least: more than all.
    AdamW slow = undecayed;
    slow.lr = 2e-5;
    const Sgd slow_sgd{1e-4, 0, 0};
    for (const uint64_t seed : seeds) {
        CAPTURE(seed);
        CHECK(lost_steps(adamw<bf16>(33, slow, seed, 1), adamw<bf16>(33, slow, seed, 1000)) == "");
        CHECK(lost_steps(sgd<bf16>(33, slow_sgd, seed, 1), sgd<bf16>(33, slow_sgd, seed, 1000)) ==
              "");
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
        auto r = squares<bf16>(n, 1);
        CHECK(bit_difference(r.run().values("sum"), q.values("sum")) == "");
        CHECK(p.errors() + q.errors() + r.errors() == "");
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
    CHECK(difference(clip<bf16>(9, 0.5).values("scale"), {0.5 / 3}, 1e-8) == "");
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
            CHECK(std::isnan(clip<bf16>(sum, max_norm).values("scale")[0]));
            CHECK(!std::isfinite(clip<double>(sum, max_norm).values("norm")[0]));
        }
}

TEST_CASE("optimizers: the same bits twice", "[optimizer]") {
    CHECK(bit_errors([] { return adamw<float>(1001, usual, 1); }) == "");
    CHECK(bit_errors([] { return adamw<bf16>(1001, usual, 1); }) == "");
    CHECK(bit_errors([] { return sgd<float>(1001, with_momentum, 1); }) == "");
    CHECK(bit_errors([] { return sgd<bf16>(1001, with_momentum, 1); }) == "");
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
