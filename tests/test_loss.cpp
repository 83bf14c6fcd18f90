#include "catch.h"
#include "gradcheck.h"
#include "problems/loss.h"

using namespace peri;

namespace {

const HeadCase shapes[] = {{1, 1, 1}, {1, 3, 5}, {7, 5, 11}, {5, 1, 3}, {70, 4, 13}, {3, 9, 257}};

// A weight that shows: PaLM's, 1e-4, would hide behind tolerances.
HeadCase with_z_loss(HeadCase s) {
    s.z_loss = 0.1;
    return s;
}

struct Reference {
    double loss = 0;    // the cross-entropy, what head_loss adds to *loss
    double z_term = 0;  // z_loss (log Z)^2 / divisor a row, what it leaves to the gradients
    std::vector<double> dx, dw;
};

// Straight from the equation in kernels.h, one row at a time.
Reference reference(HeadCase s, const std::vector<int>& targets, double divisor,
                    const std::vector<double>& x, const std::vector<double>& w) {
    const size_t C = s.C;
    Reference result{0, 0, std::vector<double>(s.R * C), std::vector<double>(s.V * C)};
    std::vector<double> p(s.V);
    for (int r = 0; r < s.R; r++) {
        if (targets[r] < 0) continue;
        double most = -INFINITY, sum = 0;
        for (int v = 0; v < s.V; v++) {
            p[v] = 0;
            for (size_t c = 0; c < C; c++) p[v] += x[r * C + c] * w[v * C + c];
            most = std::max(most, p[v]);
        }
        for (int v = 0; v < s.V; v++) sum += std::exp(p[v] - most);
        const double log_Z = most + std::log(sum);
        result.loss += (log_Z - p[targets[r]]) / divisor;
        result.z_term += s.z_loss * log_Z * log_Z / divisor;
        for (int v = 0; v < s.V; v++) {
            const double share = std::exp(p[v] - most) / sum;
            const double dz = (share - (v == targets[r]) + 2 * s.z_loss * log_Z * share) / divisor;
            for (size_t c = 0; c < C; c++) {
                result.dx[r * C + c] += dz * w[v * C + c];
                result.dw[v * C + c] += dz * x[r * C + c];
            }
        }
    }
    return result;
}

std::string reference_errors(HeadCase s, const std::vector<int>& targets, double divisor,
                             double magnitude, uint64_t seed) {
    auto p = head<double>(s, targets, divisor, seed);
    std::vector<double> x = p.values("x");
    for (double& value : x) value *= magnitude;
    p.set("x", x);
    p.run();
    const Reference r = reference(s, targets, divisor, x, p.values("w"));
    const double tolerance = roundings(16 * (s.C + std::sqrt(s.V + s.R))) * magnitude;
    return p.errors() + difference(p.values("loss"), {r.loss}, tolerance * std::max(1.0, r.loss)) +
           difference(p.values("loss again"), {r.loss}, tolerance * std::max(1.0, r.loss)) +
           difference(p.values("dx"), r.dx, tolerance * std::max(1.0, largest(r.dx))) +
           difference(p.values("dw"), r.dw, tolerance * std::max(1.0, largest(r.dw)));
}

}  // namespace

TEST_CASE("head_loss: against its equation", "[loss]") {
    for (const uint64_t seed : seeds)
        for (const HeadCase& s : shapes) {
            CAPTURE(seed, s.R, s.C, s.V);
            CHECK(reference_errors(s, targets_of(s, seed), 0.7 * s.R, 1, seed) == "");
            CHECK(reference_errors(with_z_loss(s), targets_of(s, seed), 0.7 * s.R, 1, seed) == "");
        }
}

TEST_CASE("head_loss: logits in the thousands do not overflow", "[loss]") {
    const HeadCase s{7, 5, 11};
    CHECK(reference_errors(s, targets_of(s, 1), 7, 2000, 1) == "");
    CHECK(reference_errors(with_z_loss(s), targets_of(s, 1), 7, 2000, 1) == "");
}

TEST_CASE("head_loss: gradients", "[loss]") {
    for (const uint64_t seed : seeds)
        for (const HeadCase& s : shapes) {
            auto p = head<double>(s, seed);
            p.run();
            CHECK(difference(p.values("loss again"), p.values("loss"), roundings(64)) == "");
            CHECK(gradient_errors(std::move(p), 32) == "");
        }
}

// Finite differences are of all that is differentiated: the loss and what *loss leaves out.
TEST_CASE("head_loss: gradients with z-loss", "[loss]") {
    for (const uint64_t seed : seeds)
        for (const HeadCase& shape : shapes) {
            const HeadCase s = with_z_loss(shape);
            const std::vector<int> targets = targets_of(s, seed);
            const double divisor = 0.7 * s.R;
            auto p = head<double>(s, targets, divisor, seed);
            p.forward = [=, cross_entropy = p.forward, loss = p.at("loss"), x = p.at("x"),
                         w = p.at("w")] {
                cross_entropy();
                *loss += reference(s, targets, divisor, {x, x + size_t(s.R) * s.C},
                                   {w, w + size_t(s.V) * s.C})
                             .z_term;
            };
            CAPTURE(seed, s.R, s.C, s.V);
            CHECK(gradient_errors(std::move(p), 32) == "");
        }
}

// Logits ln 3 and 0: Z = 4, p = (3/4, 1/4). With target 1 and z_loss 1/2, dlogits is
// (3/4, 1/4) - (0, 1) + ln 4 (3/4, 1/4), all over the divisor 2.
TEST_CASE("head_loss: z-loss by hand", "[loss]") {
    auto p = head<double>({1, 1, 2, false, 0.5}, {1}, 2, 1);
    p.set("x", {1});
    p.set("w", {std::log(3), 0, NAN, NAN, NAN});
    p.run();
    const double dz_0 = (1 + std::log(4)) * 0.75 / 2, dz_1 = ((1 + std::log(4)) * 0.25 - 1) / 2;
    CHECK(difference(p.values("loss"), {std::log(4) / 2}, roundings(16)) == "");
    CHECK(difference(p.values("loss again"), {std::log(4) / 2}, roundings(16)) == "");
    CHECK(difference(p.values("dx"), {dz_0 * std::log(3)}, roundings(16)) == "");
    CHECK(difference(p.values("dw"), {dz_0, dz_1}, roundings(16)) == "");
}

TEST_CASE("head_loss: more logits than are held at once", "[loss]") {
    // Whatever a chunk holds, these rows need a second one, and the last is short.
    const HeadCase s{170, 2, 100003, false, 0.1};
    REQUIRE(head_loss_workspace<double>(s.R, s.V) < sizeof(double) * s.R * s.V);
    CHECK(reference_errors(s, targets_of(s, 1), 100, 1, 1) == "");
}

TEST_CASE("head_loss: rows without a target count for nothing", "[loss]") {
    const HeadCase s{5, 3, 7, false, 0.1};
    auto p = head<double>(s, {-1, 2, -1, 0, -1}, 2, 1);
    auto none = head<double>(s, {-1, -1, -1, -1, -1}, 2, 1);
    p.run();
    none.run();
    const std::vector<double> dx = p.values("dx");
    for (const int r : {0, 2, 4}) CHECK(nonzero({&dx[r * 3], &dx[r * 3] + 3}) == "");
    for (const int r : {1, 3}) CHECK(nonzero({&dx[r * 3], &dx[r * 3] + 3}) != "");
    for (const std::string name : {"loss", "loss again", "dx", "dw"})
        CHECK(nonzero(none.values(name)) == "");
}

TEST_CASE("head_loss: one token in the vocabulary costs nothing", "[loss]") {
    auto p = head<double>({3, 4, 1}, {0, 0, 0}, 1, 1);
    CHECK(difference(p.run().values("loss"), {0}, roundings(16)) == "");
    CHECK(difference(p.values("dx"), std::vector<double>(12, 0.0), roundings(16)) == "");
}

TEST_CASE("head_loss: equal logits cost ln V", "[loss]") {
    auto p = head<double>({4, 2, 100}, {0, 99, 50, 7}, 4, 1);
    p.set("x", std::vector<double>(8, 0.0));
    CHECK(difference(p.run().values("loss"), {std::log(100)}, roundings(32)) == "");
}

TEST_CASE("head_loss: the same bits twice", "[loss]") {
    CHECK(bit_errors([] { return head<double>({70, 4, 257}, 1); }) == "");
}
