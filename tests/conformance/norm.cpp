#include "problems/norm.h"

#include "suite.h"

namespace peri {

namespace {

// A square, two sums, a root and four products, each rounded to float, and the roundings within a sum of
// C numbers, which add up as a random walk does. With bf16 one more rounding, of y and of dx: statistics
// and sums are kept in float.
int norm_roundings(const Case& c) { return 8 + static_cast<int>(std::sqrt(c.size("C"))); }

std::string rmsnorm_errors(const Case& c) {
    const NormCase n{c.size("R"),     c.size("C"), c.real("eps"),  c.yes("in_place"),
                     c.yes("dgamma"), true,        c.real("alpha")};
    return conform(
        c, [&](auto t) { return rmsnorm<decltype(t)>(n, c.seed()); }, norm_roundings(c));
}

std::string layernorm_errors(const Case& c) {
    const NormCase n{c.size("R"),     c.size("C"),    c.real("eps"),  c.yes("in_place"),
                     c.yes("dgamma"), c.yes("dbeta"), c.real("alpha")};
    return conform(
        c, [&](auto t) { return layernorm<decltype(t)>(n, c.seed()); }, norm_roundings(c));
}

// A hidden state that has exploded must not come out as a calm row: in float the squares of 1e20
// overflow, and 1 / sqrt(inf) would be 0.
template <class Real>
std::string overflow(Problem<Real> p) {
    p.set("x", {1e20, 1, -1e20});
    std::string errors;
    for (const double y : p.run(Stage::forward).values("y"))
        if (!std::isnan(y)) errors += p.title + " y is " + std::to_string(y) + ", not NaN\n";
    return errors;
}

std::string overflow_errors(const Case& c) {
    const NormCase n{1, 3, 1e-5};
    const bool rms = c.choice("norm", {"layernorm", "rmsnorm"});
    return with_type(c, [&](auto t) {
        using Real = decltype(t);
        return overflow(rms ? rmsnorm<Real>(n, c.seed()) : layernorm<Real>(n, c.seed()));
    });
}

// Rows of 1e16, whose squares float still holds: rstd^3 is 0 in it, the gradient is not.
std::string massive_errors(const Case& c) {
    const NormCase n{3, c.size("C"), 1e-5};
    auto wide = rmsnorm<double>(n, c.seed());
    auto narrow = rmsnorm<float>(n, c.seed());
    std::vector<double> x = wide.values("x");
    for (double& v : x) v *= 0x1p53;
    wide.set("x", x);
    narrow.set("x", x);
    const std::vector<double> expected = wide.run().values("dx");
    const double epsilon = std::numeric_limits<float>::epsilon();
    return difference(narrow.run().values("dx"), expected,
                      norm_roundings(c) * epsilon * std::sqrt(c.size("C")) * largest(expected));
}

std::string zero_row_errors(const Case& c) {
    return with_type(c, [&](auto t) {
        auto p = rmsnorm<decltype(t)>({1, c.size("C"), 1e-5}, c.seed());
        p.set("x", std::vector<double>(c.size("C"), 0.0));
        return nonzero(p.run().values("y"));
    });
}

// The numbers are exact in float, their squares are not: a variance computed as the mean of the
// squares less the square of the mean would be lost.
std::string far_mean_errors(const Case& c) {
    const int C = c.size("C");
    std::vector<double> x(C);
    for (int i = 0; i < C; i++) x[i] = 4096 + i % 3;
    auto wide = layernorm<double>({1, C, 1e-5}, c.seed());
    auto narrow = layernorm<float>({1, C, 1e-5}, c.seed());
    wide.set("x", x);
    narrow.set("x", x);
    return difference(narrow.run().values("y"), wide.run().values("y"), 1e-4);
}

std::vector<std::string> rmsnorm_in_model(const Case& m) {
    const std::string R = std::to_string(m.size("B") * m.size("T"));
    return {"R=" + R + " C=" + m.word("C") + " eps=1e-5 in_place=no dgamma=yes alpha=1"};
}

}  // namespace

// layernorm with eps 0.1: with a vanishing variance rounding is amplified by its inverse.
Family norm_checks() {
    const std::vector<std::string> shapes = {"R=1 C=1",   "R=3 C=1",   "R=1 C=2",  "R=5 C=7",
                                             "R=4 C=8",   "R=2 C=13",  "R=67 C=5", "R=3 C=131",
                                             "R=2 C=519", "R=130 C=37"};
    std::vector<std::string> rms, layer;
    for (const char* const wide :  // rows of a GPU's fast paths, one to four loads a thread
         {"R=3 C=256", "R=531 C=512", "R=5 C=1032", "R=2 C=2560", "R=2 C=4096", "R=2 C=4104"}) {
        rms.push_back(wide + std::string(" eps=1e-5 in_place=no dgamma=yes alpha=0"));
        rms.push_back(wide + std::string(" eps=1e-5 in_place=yes dgamma=yes alpha=2.5"));
    }
    rms.push_back("R=3 C=1024 eps=1e-5 in_place=no dgamma=no alpha=1");
    for (const std::string& shape : shapes) {
        rms.push_back(shape + " eps=1e-5 in_place=no dgamma=yes alpha=0");
        layer.push_back(shape + " eps=0.1 in_place=no dgamma=yes dbeta=yes alpha=0");
    }
    rms.push_back("R=5 C=7 eps=0.1 in_place=yes dgamma=yes alpha=0");
    rms.push_back("R=5 C=7 eps=0.1 in_place=yes dgamma=no alpha=0");
    for (const char* const joined :
         {"R=5 C=7 eps=0.1 in_place=no dgamma=yes", "R=67 C=131 eps=0.1 in_place=yes dgamma=yes"}) {
        rms.push_back(joined + std::string(" alpha=1"));
        rms.push_back(joined + std::string(" alpha=2.5"));
        layer.push_back(joined + std::string(" dbeta=yes alpha=2.5"));
    }
    layer.push_back("R=5 C=7 eps=0.1 in_place=yes dgamma=yes dbeta=yes alpha=0");
    layer.push_back("R=5 C=7 eps=0.1 in_place=no dgamma=no dbeta=yes alpha=0");
    layer.push_back("R=5 C=7 eps=0.1 in_place=yes dgamma=yes dbeta=no alpha=0");
    layer.push_back("R=5 C=7 eps=0.1 in_place=no dgamma=no dbeta=no alpha=0");
    return {
        "norm",
        {{.name = "rmsnorm", .errors = rmsnorm_errors, .cases = rms, .in_model = rmsnorm_in_model},
         {"layernorm", layernorm_errors, layer},
         {"norm_overflow", overflow_errors, {"norm=rmsnorm", "norm=layernorm"}},
         {"rmsnorm_massive", massive_errors, {"C=9", "C=67"}, {"float"}},
         {"rmsnorm_zero_row", zero_row_errors, {"C=9"}},
         {"layernorm_far_mean", far_mean_errors, {"C=9"}, {"float"}}}};
}

}  // namespace peri
