#include "problems/residual.h"

#include "suite.h"

namespace peri {

namespace {

// k = 2: a product and a sum. With bf16 one more rounding, of y and of dx: a is stored in bf16
// too, but relu rounds nothing.
std::string residual_errors(const Case& c) {
    const auto place = static_cast<Sum>(c.choice("y_is", {"apart", "x", "a"}));
    const auto make = [&](auto t) {
        return residual<decltype(t)>(c.size("n"), c.real("alpha"), c.seed(), place);
    };
    return conform(c, make, 2, {{"a", 0}});
}

}  // namespace

Family residual_checks() {
    std::vector<std::string> cases;
    for (const int n : {1, 2, 7, 33, 129, 1001})
        for (const char* const alpha : {"1", "2.5"})
            cases.push_back("n=" + std::to_string(n) + " alpha=" + alpha + " y_is=apart");
    cases.push_back("n=33 alpha=24 y_is=x");
    cases.push_back("n=33 alpha=3 y_is=a");
    return {"residual", {{"residual_add", residual_errors, cases}}};
}

}  // namespace peri
