#include "problems/linear.h"

#include "suite.h"

namespace peri {

namespace {

// k = 4: one product and one sum per term. With bf16 one more rounding, of y and of dx, also where
// dx is added to: the sum is rounded with what was there. A bias is added to a y that is stored
// already and which, as the bias takes from it, may have been 2.5 times as large: three more.
std::string linear_errors(const Case& c) {
    const size_t dx = c.choice("dx", {"no", "overwrite", "add"});
    const LinearCase l{
        c.size("R"), c.size("C"), c.size("O"),    c.yes("bias"), dx == 2 ? Dx::add : Dx::overwrite,
        dx > 0,      c.yes("dw"), c.yes("dbias"), c.yes("tuned")};
    c.require(l.bias || !l.dbias, "dbias=no where bias=no");
    const double multiply = 2.0 * l.R * l.C * l.O;
    return conform(c, [&](auto t) { return linear<decltype(t)>(l, c.seed()); }, 4,
                   {{"y", l.bias ? 4 : 1}}, {multiply, multiply * ((dx > 0) + l.dw)});
}

// The machine's peak, then q, k, v and o; gate and up; down.
std::vector<std::string> in_model(const Case& m) {
    const auto shape = [](int R, int C, int O) {
        return "R=" + std::to_string(R) + " C=" + std::to_string(C) + " O=" + std::to_string(O) +
               " bias=no dx=overwrite dw=yes dbias=no tuned=yes";
    };
    const int R = m.size("B") * m.size("T"), C = m.size("C"), F = m.size("F");
    return {shape(R, C, C), shape(R, C, F), shape(R, F, C)};
}

}  // namespace

Family linear_checks() {
    std::vector<std::string> cases;
    for (const char* const shape :
         {"R=1 C=1 O=1", "R=1 C=5 O=3", "R=3 C=1 O=7", "R=7 C=9 O=1", "R=5 C=8 O=16",
          "R=13 C=17 O=11", "R=130 C=3 O=5", "R=33 C=257 O=65"})
        for (const char* const rest : {" bias=yes dx=overwrite dw=yes dbias=yes tuned=no",
                                       " bias=yes dx=add dw=yes dbias=yes tuned=no",
                                       " bias=no dx=overwrite dw=yes dbias=no tuned=no"})
            cases.push_back(std::string(shape) + rest);
    for (const char* const rest :
         {" bias=yes dx=overwrite dw=no dbias=no tuned=no",
          " bias=yes dx=no dw=yes dbias=no tuned=no", " bias=yes dx=no dw=no dbias=yes tuned=no",
          " bias=no dx=add dw=yes dbias=no tuned=no"})
        cases.push_back(std::string("R=5 C=9 O=3") + rest);
    // a shape of its own: what is chosen for it stays
    cases.push_back("R=66 C=64 O=96 bias=yes dx=add dw=yes dbias=yes tuned=yes");
    return {"linear",
            {{.name = "linear", .errors = linear_errors, .cases = cases, .in_model = in_model}}};
}

}  // namespace peri
