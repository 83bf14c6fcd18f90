#include "problems/optimizer.h"

#include "suite.h"

namespace peri {

namespace {

// k = 8 for about a dozen roundings a step, over the root of the steps. Without decay beta2 is
// 0.999: in float 1 - beta2 is off by 2^-25 / 0.001 of itself, which moves w by lr 1.5e-5 a step:
// 20 more.
std::string adamw_errors(const Case& c) {
    const bool decay = c.yes("decay");
    const auto make = [&](auto t) {
        return adamw<decltype(t)>(c.size("n"), decay ? usual : undecayed, c.seed());
    };
    return conform(c, make, decay ? 8 : 28, {}, {.steps = steps});
}

std::string sgd_errors(const Case& c) {
    const Sgd& settings = c.yes("momentum") ? with_momentum : plain;
    const auto make = [&](auto t) { return sgd<decltype(t)>(c.size("n"), settings, c.seed()); };
    return conform(c, make, 8);
}

template <class Narrow>
std::vector<double> rounded_to(const std::vector<double>& values) {
    std::vector<double> result;
    for (const double v : values) result.push_back(Narrow(static_cast<float>(v)));
    return result;
}

// What a narrow type makes of steps that float takes too: its master weights are float's weights, its
// weights their rounding.
template <class Narrow>
std::string masters(Problem<Narrow> narrow, Problem<float> wide) {
    narrow.run();
    wide.run();
    std::string errors = narrow.errors() + wide.errors();
    for (const Slot<float>& s : wide.slots())
        if (s.stage != Stage::given)
            errors += bit_difference(narrow.values(s.name), wide.values(s.name));
    return errors + bit_difference(narrow.values("rounded w"),
                                   rounded_to<Narrow>(narrow.device_values("w")));
}

std::string adamw_master_errors(const Case& c) {
    const size_t n = c.size("n");
    return with_type(c, [&]<class Narrow>(Narrow) {
        return masters(adamw<Narrow>(n, usual, c.seed()), adamw<float>(n, usual, c.seed()));
    });
}

std::string sgd_master_errors(const Case& c) {
    const size_t n = c.size("n");
    return with_type(c, [&]<class Narrow>(Narrow) {
        return masters(sgd<Narrow>(n, with_momentum, c.seed()),
                       sgd<float>(n, with_momentum, c.seed()));
    });
}

// One small step is lost on narrow weights, a thousand are not.
template <class Narrow>
std::string lost_steps(Problem<Narrow> one, Problem<Narrow> thousand) {
    one.run();
    thousand.run();
    const std::vector<double> start = one.before("w"), end = thousand.values("rounded w");
    std::string errors = one.errors() + thousand.errors() +
                         bit_difference(one.values("rounded w"), start) +
                         bit_difference(end, rounded_to<Narrow>(thousand.device_values("w")));
    for (size_t i = 0; i < start.size(); i++)
        if (end[i] == start[i]) errors += "weight " + std::to_string(i) + " has not moved\n";
    return errors;
}

// Weights of 0.5 to 1.5 are 2^-8 or 2^-7 apart in bf16, 2^-11 or 2^-10 in fp16. A step moves them by lr or by lr 0.25 |g|, at most
// 4e-5: less than half of that. A thousand move them by 0.0125 at least: more than all.
std::string small_step_errors(const Case& c) {
    const size_t n = c.size("n");
    const bool is_sgd = c.choice("optimizer", {"adamw", "sgd"}) == 1;
    return with_type(c, [&]<class Narrow>(Narrow) {
        const Sgd slow{1e-4, 0, 0};
        AdamW slow_adam = undecayed;
        slow_adam.lr = 2e-5;
        return is_sgd ? lost_steps(sgd<Narrow>(n, slow, c.seed(), 1),
                                   sgd<Narrow>(n, slow, c.seed(), 1000))
                      : lost_steps(adamw<Narrow>(n, slow_adam, c.seed(), 1),
                                   adamw<Narrow>(n, slow_adam, c.seed(), 1000));
    });
}

// For float, too, squares and sums are taken in double. Whatever the order, n positive numbers add up to their sum within
// n 2^-53 of it, on either side: for a whole block, n = 2^16, k 2^-23 sqrt(n) is that, twice.
std::string squares_errors(const Case& c) {
    return conform(
        c, [&](auto t) { return squares<decltype(t)>(c.size("n"), c.seed()); }, 0x1p-21);
}

// Squares beyond float, those of numbers below its least normal one, and a NaN.
std::string large_squares_errors(const Case& c) {
    return with_type(c, [&](auto t) {
        auto p = squares<decltype(t)>(3, c.seed());
        p.set("g", {1e30, 0, 0});
        std::string errors = difference(p.run().values("sums"), {1e60}, roundings<float>(8) * 1e60);
        p.set("g", {0x1p-140, 0, -0x1p-141});
        errors += difference(p.run().values("sums"), {0x1.4p-280}, roundings<float>(8) * 0x1p-280);
        p.set("g", {0, NAN, 0});
        return errors + (std::isnan(p.run().values("sums")[0]) ? "" : "a NaN is lost\n");
    });
}

// More blocks than a GPU's block of threads adds at once; the sum lies in the last.
std::vector<double> blocks_of(double sum) {
    std::vector<double> sums(301, 0.0);
    sums.back() = sum;
    return sums;
}

// The norm is double's, scale its rounding to float: k = 1.
std::string clip_errors(const Case& c) {
    const double sum = c.real("sum"), max_norm = c.real("max_norm");
    const auto make = [&](auto t) { return clip<decltype(t)>(blocks_of(sum), max_norm); };
    return conform(c, make, 1) + with_type(c, [&](auto t) {
               auto p = clip<decltype(t)>(blocks_of(sum), max_norm);
               return difference(p.run().values("norm"), {std::sqrt(sum)},
                                 roundings(4) * std::sqrt(sum));
           });
}

// A norm that is not finite gives a scale of NaN.
std::string clip_nan_errors(const Case& c) {
    return with_type(c, [&](auto t) {
        auto p = clip<decltype(t)>(blocks_of(c.real("sum")), c.real("max_norm"));
        p.run();
        const bool shown = std::isnan(p.values("scale")[0]) && !std::isfinite(p.values("norm")[0]);
        return std::string(shown ? "" : "a norm that is not finite does not show\n");
    });
}

// What steps make of a loss scale: norm and clipping are as without one, the gradients' factor is divided by it. A step
// that is not finite is skipped and halves it, `grows_after` good ones double it; one that stays, stays.
std::string loss_scale_errors(const Case& c) {
    return with_type(c, [&]<class Real>(Real) {
        const int grows_after = c.integer("grows_after", 0);
        const Arena<Real> sums(sizeof(double)), norm(sizeof(double)), scale(sizeof(Accum<Real>)),
            moved(sizeof(LossScale));
        LossScale s = {8, grows_after, 0, 0};
        device_upload<Real>(moved.at(), &s, sizeof s);
        std::string errors;
        double expected = 8;
        int skipped = 0, good = 0;
        for (const double step : {2.0, 0.5, double(INFINITY), 4.0, double(NAN), 1.0, 1.0, 1.0}) {
            const double sum = step * expected * step * expected;
            device_upload<Real>(sums.at(), &sum, sizeof sum);
            clip_scale<Real>(norm.template at<double>(), scale.template at<Accum<Real>>(),
                             moved.template at<LossScale>(), sums.template at<double>(), 1, 1);
            double got_norm;
            Accum<Real> factor;
            device_download<Real>(&got_norm, norm.at(), sizeof got_norm);
            device_download<Real>(&factor, scale.at(), sizeof factor);
            device_download<Real>(&s, moved.at(), sizeof s);
            const bool finite = std::isfinite(step);
            errors += difference({factor}, {finite ? std::min(1.0, 1 / step) / expected : 0}, 0);
            if (finite) errors += difference({got_norm}, {step}, 0);
            if (!finite && std::isfinite(got_norm))
                errors += "a step that is not finite is hidden\n";
            skipped += !finite;
            good = finite && grows_after ? good + 1 : 0;
            if (grows_after && !finite) expected /= 2;
            if (grows_after && good == grows_after) expected *= 2, good = 0;
            errors += difference({s.scale, double(s.skipped), double(s.good)},
                                 {expected, double(skipped), double(good)}, 0);
        }
        return errors;
    });
}

// A step whose factor is 0 leaves all as it is, also where gradients are infinite.
std::string skipped_errors(const Case& c) {
    const auto infinite = [](std::vector<double> g) {
        for (size_t i = 0; i < g.size(); i += 2) g[i] = i % 4 ? NAN : INFINITY;
        return g;
    };
    return with_type(c, [&]<class Real>(Real) {
        using A = Accum<Real>;
        const size_t n = c.size("n");
        std::string errors;
        for (const bool is_sgd : {false, true}) {
            auto p = is_sgd ? sgd<Real>(n, with_momentum, c.seed(), 2)
                            : adamw<Real>(n, usual, c.seed(), 2);
            p.run();
            std::map<std::string, std::vector<double>> before;
            for (const Slot<Real>& s : p.slots()) before[s.name] = p.device_values(s.name);
            p.set("g", infinite(p.values("g")));
            p.set("scale", {0});
            const Weights<Real> weights(p);
            AdamW third = usual;
            third.step = 3;
            if (is_sgd)
                sgd_update<Real>(weights.w, weights.master, p.template at<A>("m"),
                                 p.template at<A>("g"), p.template at<A>("scale"), n,
                                 with_momentum);
            else
                adamw_update<Real>(weights.w, weights.master, p.template at<A>("m"),
                                   p.template at<A>("v"), p.template at<A>("g"),
                                   p.template at<A>("scale"), n, third);
            for (const auto& [name, values] : before)
                if (name != "g" && name != "scale")
                    errors += bit_difference(p.device_values(name), values);
        }
        return errors;
    });
}

std::vector<std::string> sizes(const std::string& rest) {
    std::vector<std::string> result;
    for (const char* const n : {"n=1", "n=7", "n=33", "n=129", "n=1001"})
        result.push_back(n + rest);
    return result;
}

// As many numbers as a layer has; the moments are set to 0 before the steps, also in what is timed.
std::vector<std::string> adamw_in_model(const Case& m) {
    const int C = m.size("C"), F = m.size("F");
    return {"n=" + std::to_string(4 * C * C + 3 * C * F) + " decay=yes"};
}

}  // namespace

Family optimizer_checks() {
    std::vector<std::string> adam = sizes(" decay=yes"), sgd = sizes(" momentum=yes");
    adam.push_back("n=33 decay=no");
    sgd.push_back("n=33 momentum=no");
    return {"optimizer",
            {{.name = "adamw", .errors = adamw_errors, .cases = adam, .in_model = adamw_in_model},
             {"sgd", sgd_errors, sgd},
             {"adamw_masters", adamw_master_errors, sizes(""), {"bf16", "fp16"}},
             {"sgd_masters", sgd_master_errors, sizes(""), {"bf16", "fp16"}},
             {"small_steps",
              small_step_errors,
              {"optimizer=adamw n=33", "optimizer=sgd n=33"},
              {"bf16", "fp16"}},
             {"sum_of_squares", squares_errors, {"n=1", "n=7", "n=65537", "n=200003"}},
             {"sum_of_squares_range", large_squares_errors, {""}},
             {"clip_scale",
              clip_errors,
              {"sum=9 max_norm=0.5", "sum=9 max_norm=3", "sum=9 max_norm=4", "sum=0 max_norm=1",
               "sum=1e20 max_norm=0"}},
             {"loss_scale", loss_scale_errors, {"grows_after=3", "grows_after=2", "grows_after=0"}},
             {"skipped_step", skipped_errors, {"n=1", "n=33", "n=1001"}},
             {"clip_scale_nan",
              clip_nan_errors,
              {"sum=nan max_norm=0", "sum=nan max_norm=1", "sum=inf max_norm=0",
               "sum=inf max_norm=1"}}}};
}

}  // namespace peri
