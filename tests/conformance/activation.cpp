#include "problems/activation.h"

#include "suite.h"

namespace peri {

namespace {

// k = 16: an exponential, a division and five products, with room: 6 was seen, in silu's tails. With
// bf16 one more rounding, of the result.
std::string swiglu_errors(const Case& c) {
    const size_t n = c.size("n");
    const bool wide = c.choice("gate", {"usual", "wide"});
    const auto dh_is = static_cast<Overwrite>(c.choice("overwrites_dh", {"no", "dgate", "dup"}));
    const auto make = [&](auto t) {
        auto p = swiglu<decltype(t)>(n, c.seed(), dh_is);
        if (wide) p.set("gate", wide_range(n));
        return p;
    };
    return conform(c, make, 16);
}

// relu rounds nothing.
std::string relu_errors(const Case& c) {
    const auto make = [&](auto t) {
        return relu<decltype(t)>(c.size("n"), c.seed(), c.yes("in_place"));
    };
    return conform(c, make, 0, {{"h", 0}, {"dx", 0}});
}

// Far out silu is 0 and the identity; all numbers are exact in bf16.
std::string far_gate_errors(const Case& c) {
    return with_type(c, [&](auto t) {
        auto p = swiglu<decltype(t)>(2, c.seed());
        p.set("gate", {-8192, 8192});
        p.set("up", {1, 1});
        p.run();
        return difference(p.values("h"), {0, 8192}, 1e-30) +
               difference(p.values("dgate"), {0, p.values("dh")[1]}, 1e-30);
    });
}

// zero, exactly, where x <= 0 and the input where x > 0
std::string kink_errors(const Case& c) {
    return with_type(c, [&](auto t) {
        auto p = relu<decltype(t)>(5, c.seed());
        const double least = c.word("type") == "fp16" ? 0x1p-24 : 1e-30;
        p.set("x", {-2, -least, 0, least, 3});
        p.run();
        const std::vector<double> x = p.values("x"), dh = p.values("dh");
        return difference(p.values("h"), {0, 0, 0, x[3], 3}, 0) +
               difference(p.values("dx"), {0, 0, 0, dh[3], dh[4]}, 0);
    });
}

// NaN stays NaN, so that divergence is seen.
std::string nan_errors(const Case& c) {
    return with_type(c, [&](auto t) {
        auto p = swiglu<decltype(t)>(3, c.seed());
        auto q = relu<decltype(t)>(3, c.seed());
        p.set("gate", {1, NAN, 1});
        q.set("x", {1, NAN, 1});
        const bool kept = std::isnan(p.run().values("h")[1]) && std::isnan(q.run().values("h")[1]);
        return std::string(kept ? "" : "a NaN is lost\n");
    });
}

std::vector<std::string> swiglu_in_model(const Case& m) {
    const std::string n = std::to_string(m.size("B") * m.size("T") * m.size("F"));
    return {"n=" + n + " gate=usual overwrites_dh=no"};
}

}  // namespace

Family activation_checks() {
    std::vector<std::string> gated, kinked;
    for (const int n : {1, 2, 7, 8, 33, 129, 1001}) {
        const std::string size = "n=" + std::to_string(n);
        gated.push_back(size + " gate=usual overwrites_dh=no");
        kinked.push_back(size + " in_place=no");
    }
    gated.push_back("n=129 gate=wide overwrites_dh=no");
    gated.push_back("n=33 gate=usual overwrites_dh=dgate");
    gated.push_back("n=33 gate=usual overwrites_dh=dup");
    kinked.push_back("n=33 in_place=yes");
    return {
        "activation",
        {{.name = "swiglu", .errors = swiglu_errors, .cases = gated, .in_model = swiglu_in_model},
         {"swiglu_far_out", far_gate_errors, {""}},
         {"relu", relu_errors, kinked},
         {"relu_at_zero", kink_errors, {""}},
         {"activation_nan", nan_errors, {""}}}};
}

}  // namespace peri
