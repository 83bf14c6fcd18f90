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

// k = 1e-6: for float, too, squares and sums are taken in double.
std::string squares_errors(const Case& c) {
    return conform(
        c, [&](auto t) { return squares<decltype(t)>(c.size("n"), c.seed()); }, 1e-6);
}

// Squares beyond float, and a NaN.
std::string large_squares_errors(const Case& c) {
    return with_type(c, [&](auto t) {
        auto p = squares<decltype(t)>(3, c.seed());
        p.set("g", {1e30, 0, 0});
        const std::string errors =
            difference(p.run().values("sums"), {1e60}, roundings<float>(8) * 1e60);
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
             {"clip_scale_nan",
              clip_nan_errors,
              {"sum=nan max_norm=0", "sum=nan max_norm=1", "sum=inf max_norm=0",
               "sum=inf max_norm=1"}}}};
}

}  // namespace peri
