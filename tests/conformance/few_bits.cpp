#include "problems/few_bits.h"

#include "suite.h"

namespace peri {

namespace {

const std::vector<std::string> formats = {"none",        "int8", "int8-tensor", "int4",
                                          "int4-tensor", "e4m3", "e4m3-sat",    "e5m2",
                                          "e5m2-sat",    "fp16", "bf16"};

// k = 0: the rounding is float's for every type, so that only what is stored in bf16 or fp16 differs, by the rounding
// of that.
std::string quantise_errors(const Case& c) {
    const auto format = static_cast<FewBits>(c.choice("format", formats));
    const auto make = [&](auto t) {
        return quantised<decltype(t)>(c.size("R"), c.size("C"), format, c.yes("in_place"),
                                      c.seed());
    };
    return conform(c, make, 0);
}

// The same of numbers beyond a format's largest, and of rows with infinity and NaN: of what is NaN for double
// tests/test_few_bits.cpp has the list.
std::string overflow_errors(const Case& c) {
    const auto format = static_cast<FewBits>(c.choice("format", formats));
    return with_type(c, [&]<class Real>(Real) {
        const int C = c.size("C");
        auto p = quantised<Real>(5, C, format, false, c.seed());
        auto wide = quantised<double>(5, C, format, false, c.seed());
        std::vector<double> x = p.before("x");
        x[0] = -500;
        x[C] = 61440;
        x[2 * C] = INFINITY;
        x[3 * C] = NAN;
        p.set("x", x);
        wide.set("x", x);
        const std::vector<double> y = p.run().values("y"), expected = wide.run().values("y");
        std::string errors = p.errors();
        for (size_t i = 0; i < y.size(); i++) {
            const double e = Real(static_cast<float>(expected[i]));
            if (!(y[i] == e || (std::isnan(y[i]) && std::isnan(e))))
                errors += "entry " + std::to_string(i) + " is " + std::to_string(y[i]) + ", not " +
                          std::to_string(e) + "\n";
        }
        return errors;
    });
}

std::vector<std::string> with_formats(const std::vector<std::string>& shapes) {
    std::vector<std::string> cases;
    for (const std::string& shape : shapes)
        for (const std::string& format : formats)
            cases.push_back(shape + (shape.empty() ? "" : " ") + "format=" + format);
    return cases;
}

}  // namespace

Family few_bits_checks() {
    return {
        "few_bits",
        {{"quantise", quantise_errors,
          with_formats({"R=1 C=1 in_place=no", "R=5 C=33 in_place=yes", "R=37 C=70 in_place=no"})},
         {"quantise_overflow", overflow_errors, with_formats({"C=5", "C=66"})}}};
}

}  // namespace peri
