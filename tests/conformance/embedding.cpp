#include "problems/embedding.h"

#include "suite.h"

namespace peri {

namespace {

EmbeddingShape shape_of(const Case& c) { return {c.size("R"), c.size("C"), c.size("V")}; }

std::vector<int> chosen_tokens(const Case& c) {
    const EmbeddingShape s = shape_of(c);
    const bool same = c.choice("tokens", {"random", "same"});
    return same ? std::vector<int>(s.R, s.V - 1) : tokens_of(s, c.seed());
}

// k = 2: one sum per term, in float. y is a copy: no rounding.
std::string embedding_errors(const Case& c) {
    const std::vector<int> tokens = chosen_tokens(c);
    const auto make = [&](auto t) { return embedding<decltype(t)>(shape_of(c), tokens, c.seed()); };
    return conform(c, make, 2, {{"y", 0}});
}

// y is the table's rows, to the bit. dy spans many binary orders, so that a row left out shows: dtable is off
// by no more than the roundings of a sum of so many numbers in any order.
std::string order_errors(const Case& c) {
    const EmbeddingShape s = shape_of(c);
    const std::vector<int> tokens = chosen_tokens(c);
    return with_type(c, [&](auto t) {
        auto p = embedding<decltype(t)>(s, tokens, c.seed());
        std::vector<double> dy = p.values("dy");
        for (size_t i = 0; i < dy.size(); i++) dy[i] = std::ldexp(dy[i], -static_cast<int>(i % 23));
        p.set("dy", dy);
        dy = p.values("dy");  // as it was rounded
        p.run();
        const std::vector<double> table = p.values("table"), got = p.device_values("dtable");
        std::vector<double> y, sum = p.before("dtable"), size;
        for (const double start : sum) size.push_back(std::abs(start));
        for (int r = 0; r < s.R; r++)
            for (int i = 0; i < s.C; i++) {
                y.push_back(table[tokens[r] * s.C + i]);
                sum[tokens[r] * s.C + i] += dy[r * s.C + i];
                size[tokens[r] * s.C + i] += std::abs(dy[r * s.C + i]);
            }
        std::string errors = bit_difference(p.values("y"), y);
        for (size_t i = 0; i < sum.size(); i++)
            if (!(std::abs(got[i] - sum[i]) <= s.R * 0x1p-24 * size[i]))
                errors += "dtable entry " + std::to_string(i) + ": got " + std::to_string(got[i]) +
                          ", expected " + std::to_string(sum[i]) + "\n";
        return errors;
    });
}

}  // namespace

Family embedding_checks() {
    std::vector<std::string> cases;
    for (const char* const shape :
         {"R=1 C=1 V=1", "R=5 C=3 V=7", "R=9 C=1 V=2", "R=70 C=5 V=11", "R=3 C=13 V=100",
          "R=200 C=5 V=11", "R=7 C=300 V=3", "R=40 C=256 V=3", "R=300 C=132 V=40"})
        cases.push_back(std::string(shape) + " tokens=random");
    cases.push_back("R=67 C=3 V=4 tokens=same");
    return {"embedding",
            {{"embedding", embedding_errors, cases},
             {"embedding_order",
              order_errors,
              {"R=200 C=3 V=5 tokens=random", "R=67 C=8 V=4 tokens=same"}}}};
}

}  // namespace peri
