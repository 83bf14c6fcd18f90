#include "problems/rope.h"

#include "suite.h"

namespace peri {

namespace {

// k = 4: two products and a sum of numbers that are rounded themselves. With bf16 one more
// rounding, of y and of dx; the table is in float.
std::string rope_errors(const Case& c) {
    const RopeCase r{c.size("B"), c.size("T"),           c.size("H"),
                     c.size("D"), c.integer("first", 0), c.yes("in_place")};
    c.require(r.D % 2 == 0, "an even D");
    return conform(
        c, [&](auto t) { return rope<decltype(t)>(r, c.seed()); }, 4);
}

// At position 100,000 an angle computed in float would be wrong by 0.004.
std::string far_table_errors(const Case& c) {
    const int position = c.size("position"), D = 2;
    return with_type(c, [&](auto t) {
        using Real = decltype(t);
        Arena<Real> table(sizeof(Accum<Real>) * (position + 1) * D);
        rope_table<Real>(table.template at<Accum<Real>>(), position + 1, D, 10000);
        Accum<Real> last[D];
        device_download<Real>(last, table.template at<Accum<Real>>() + size_t(position) * D,
                              sizeof last);
        return difference({last[0], last[1]}, {std::cos(position), std::sin(position)},
                          roundings<float>(4));
    });
}

std::vector<std::string> in_model(const Case& m) {
    const int D = m.size("C") / m.size("H");
    return {"B=" + m.word("B") + " T=" + m.word("T") + " H=" + m.word("H") +
            " D=" + std::to_string(D) + " first=0 in_place=no"};
}

}  // namespace

Family rope_checks() {
    return {
        "rope",
        {{.name = "rope",
          .errors = rope_errors,
          .cases = {"B=1 T=1 H=1 D=2 first=0 in_place=no", "B=1 T=5 H=1 D=2 first=3 in_place=no",
                    "B=2 T=3 H=3 D=6 first=0 in_place=no", "B=2 T=7 H=2 D=10 first=4 in_place=no",
                    "B=2 T=7 H=2 D=10 first=4 in_place=yes",
                    "B=2 T=33 H=3 D=10 first=4 in_place=no",
                    "B=1 T=3 H=2 D=128 first=61 in_place=no"},
          .in_model = in_model},
         {"rope_table_far_out", far_table_errors, {"position=100000"}}}};
}

}  // namespace peri
