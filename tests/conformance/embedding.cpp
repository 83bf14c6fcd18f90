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

// y is the table's rows, and dtable the sums in the order of the rows, both to the bit. dy spans
// many binary orders, so that sums in another order differ.
std::string order_errors(const Case& c) {
    const EmbeddingShape s = shape_of(c);
    const std::vector<int> tokens = chosen_tokens(c);
    return with_type(c, [&](auto t) {
        auto p = embedding<decltype(t)>(s, tokens, c.seed());
        std::vector<double> dy = p.values("dy");
        for (size_t i = 0; i < dy.size(); i++) dy[i] = std::ldexp(dy[i], -static_cast<int>(i % 23));
        p.set("dy", dy);
        p.run();
        const std::vector<double> table = p.values("table");
        std::vector<double> y;
        std::vector<float> sum;
        for (const double start : p.before("dtable")) sum.push_back(static_cast<float>(start));
        for (int r = 0; r < s.R; r++)
            for (int i = 0; i < s.C; i++) {
                y.push_back(table[tokens[r] * s.C + i]);
                sum[tokens[r] * s.C + i] += static_cast<float>(dy[r * s.C + i]);
            }
        return bit_difference(p.values("y"), y) +
               bit_difference(p.device_values("dtable"), {sum.begin(), sum.end()});
    });
}

}  // namespace

Family embedding_checks() {
    std::vector<std::string> cases;
    for (const char* const shape : {"R=1 C=1 V=1", "R=5 C=3 V=7", "R=9 C=1 V=2", "R=70 C=5 V=11",
                                    "R=3 C=13 V=100", "R=200 C=5 V=11", "R=7 C=300 V=3"})
        cases.push_back(std::string(shape) + " tokens=random");
    cases.push_back("R=67 C=3 V=4 tokens=same");
    return {"embedding",
            {{"embedding", embedding_errors, cases},
             {"embedding_order",
              order_errors,
              {"R=200 C=3 V=5 tokens=random", "R=67 C=3 V=4 tokens=same"}}}};
}

}  // namespace peri
