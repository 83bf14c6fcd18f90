#include "problems/residual.h"

#include "suite.h"

namespace peri {

namespace {

// k = 2: a product and a sum. With bf16 one more rounding, of y and of dx: a is stored in bf16
// too, but relu rounds nothing.
std::string residual_errors(const Case& c) {
    const auto place = static_cast<Sum>(c.choice("y_is", {"apart", "x", "a", "alone"}));
    const auto make = [&](auto t) {
        return residual<decltype(t)>(c.size("n"), c.real("alpha"), c.seed(), place);
    };
    return conform(c, make, 2, {{"a", 0}});
}

// What is beyond 65,504 is infinity, which a loss scale must see; nothing saturates.
std::string overflow_errors(const Case& c) {
    return with_type(c, [&](auto t) {
        auto p = residual<decltype(t)>(3, 1, c.seed(), Sum::alone);
        p.set("x", {60'000, -60'000, 60'000});
        p.set("a", {60'000, -60'000, -60'000});
        const std::vector<double> y = p.run().values("y");
        return std::string(y[0] == INFINITY && y[1] == -INFINITY && y[2] == 0 ? ""
                                                                              : "no infinity\n");
    });
}

// The peak of memory bandwidth, then the residual stream.
std::vector<std::string> in_model(const Case& m) {
    const std::string n = std::to_string(m.size("B") * m.size("T") * m.size("C"));
    return {"n=" + n + " alpha=1 y_is=alone"};
}

}  // namespace

Family residual_checks() {
    std::vector<std::string> cases;
    for (const int n : {1, 2, 7, 33, 129, 1001})
        for (const char* const alpha : {"1", "2.5"})
            cases.push_back("n=" + std::to_string(n) + " alpha=" + alpha + " y_is=apart");
    cases.push_back("n=33 alpha=24 y_is=x");
    cases.push_back("n=33 alpha=3 y_is=a");
    cases.push_back("n=67 alpha=3 y_is=alone");
    return {
        "residual",
        {{.name = "residual_add", .errors = residual_errors, .cases = cases, .in_model = in_model},
         {"fp16_overflow", overflow_errors, {""}, {"fp16"}}}};
}

}  // namespace peri
