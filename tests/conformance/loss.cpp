#include "problems/loss.h"

#include "suite.h"

namespace peri {

namespace {

// k = 4: a logit of C terms, an exponential, a sum over V and the product with w or x. With bf16
// logits and loss are kept in float, their gradients rounded before they meet x and w. In dw those
// of the rows add up: of five rows, four of them with a target, two in the mean of their squares. In dx
// two before its own: the target's, and those of all others, which together are as large. z-loss weighs the others up to three times as much here, and so it
// does what they sum to.
std::string errors_of(const Case& c, int R) {
    const HeadCase h{R,
                     c.size("C"),
                     c.size("V"),
                     c.yes("tuned"),
                     c.real("z_loss"),
                     static_cast<float>(c.real("loss_scale"))};
    const auto make = [&](auto t) { return head<decltype(t)>(h, c.seed()); };
    const double multiply = 2.0 * h.R * h.C * h.V;
    return conform(c, make, 4, {{"dx", 3}, {"dw", 2}}, {multiply, 3 * multiply});
}

std::string head_errors(const Case& c) { return errors_of(c, c.size("R")); }

// The rows whose logits this backend holds at once: from there on one more takes less than its logits.
constexpr int most_rows = 1 << 14;
template <class Real>
int rows_at_once(int V) {
    const auto more = [V](int R) {
        return head_loss_workspace<Real>(R + 1, V) >= head_loss_workspace<Real>(R, V) + V;
    };
    int R = 1;
    while (R < most_rows && more(R)) R *= 2;
    for (int step = R / 2; step > 0; step /= 2)
        if (R > step && !more(R - step)) R -= step;
    return R;
}

// More logits than are held at once: the rows need a second chunk, and the last is short. Of so many, most p are
// so small that fp16 holds them only where a loss scale makes them larger.
std::string chunk_errors(const Case& c) {
    return with_type(c, [&](auto t) -> std::string {
        const int rows = rows_at_once<decltype(t)>(c.size("V"));
        if (rows == most_rows) return "the logits of any number of rows are held at once\n";
        return errors_of(c, rows + 3);
    });
}

// Rows without a target add nothing to any gradient or loss, exactly.
std::string untargeted_errors(const Case& c) {
    const HeadCase h{5, c.size("C"), c.size("V"), false, c.real("z_loss")};
    return with_type(c, [&](auto t) {
        auto some = head<decltype(t)>(h, {-1, 0, -1, h.V - 1, -1}, 2, c.seed());
        auto none = head<decltype(t)>(h, {-1, -1, -1, -1, -1}, 2, c.seed());
        std::string errors = some.run().errors() + none.run().errors();
        const std::vector<double> dx = some.values("dx");
        for (int r = 0; r < h.R; r++) {
            const std::string other = nonzero({&dx[r * h.C], &dx[r * h.C] + h.C});
            if (r % 2 == 0) errors += other;
            if (r % 2 == 1 && other == "") errors += "dx of a row with a target is 0\n";
        }
        for (const std::string name : {"loss", "loss again", "dx", "dw"})
            errors += nonzero(none.values(name));
        return errors;
    });
}

std::string nan_errors(const Case& c) {
    return with_type(c, [&](auto t) {
        auto p = head<decltype(t)>({3, 2, 5}, {0, 1, 2}, 3, c.seed());
        std::vector<double> x = p.values("x");
        x[3] = NAN;
        p.set("x", x);
        const bool shown = std::isnan(p.run().values("loss")[0]);
        return std::string(shown ? "" : "a NaN in x does not show in the loss\n");
    });
}

std::vector<std::string> in_model(const Case& m) {
    return {"R=" + std::to_string(m.size("B") * m.size("T")) + " C=" + m.word("C") +
            " V=" + m.word("V") + " tuned=yes z_loss=0 loss_scale=0"};
}

}  // namespace

Family loss_checks() {
    std::vector<std::string> cases;
    for (const char* const shape : {"R=1 C=1 V=1", "R=1 C=3 V=5", "R=7 C=5 V=11", "R=5 C=1 V=3",
                                    "R=70 C=4 V=13", "R=3 C=9 V=257", "R=70 C=4 V=257"})
        for (const char* const z_loss : {" z_loss=0", " z_loss=0.1"})
            cases.push_back(std::string(shape) + " tuned=no" + z_loss + " loss_scale=0");
    // a shape of its own: what is chosen for it stays
    cases.push_back("R=34 C=16 V=300 tuned=yes z_loss=0.1 loss_scale=0");
    cases.push_back("R=7 C=5 V=11 tuned=no z_loss=0.1 loss_scale=1024");
    return {
        "loss",
        {{.name = "head_loss", .errors = head_errors, .cases = cases, .in_model = in_model},
         {"head_loss_chunks", chunk_errors, {"C=2 V=100003 tuned=no z_loss=0.1 loss_scale=65536"}},
         {"head_loss_untargeted", untargeted_errors, {"C=3 V=7 z_loss=0", "C=3 V=300 z_loss=0.1"}},
         {"head_loss_nan", nan_errors, {""}}}};
}

}  // namespace peri
