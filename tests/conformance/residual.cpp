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

// What rounds to more than fp16's largest number, 65504, is infinity, by which a step is seen to
// have overflowed.
std::string overflow_errors(const Case& c) {
    const size_t n = c.size("n");
    auto p = residual<fp16>(n, 1, c.seed(), Sum::alone);
    std::vector<double> a(n, 16);  // 65520: halfway to what would be next
    for (size_t i = 0; i < n; i += 2) a[i] = 15;
    p.set("x", std::vector<double>(n, 65504));
    p.set("a", a);
    const std::vector<double> y = p.run(Stage::forward).values("y");
    std::string errors;
    for (size_t i = 0; i < n; i++)
        if (!(y[i] == (i % 2 ? INFINITY : 65504)))
            errors += "entry " + std::to_string(i) + " is " + std::to_string(y[i]) + "\n";
    return errors;
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
         {"residual_overflow", overflow_errors, {"n=8", "n=9"}, {"fp16"}}}};
}

}  // namespace peri
