#include "catch.h"
#include "gradcheck.h"

using namespace peri;

namespace {

struct Shape {
    int R, C, V;
};
const Shape shapes[] = {{1, 1, 1}, {1, 3, 5}, {7, 5, 11}, {5, 1, 3}, {70, 4, 13}, {3, 9, 257}};

constexpr int padding = 3;  // rows of w beyond the vocabulary

// Every third row has no label, unless there is but one row.
std::vector<int> labels_of(Shape s, uint64_t seed) {
    Rng rng(seed, 99);
    std::vector<int> labels(s.R);
    for (int r = 0; r < s.R; r++) labels[r] = r % 3 == 1 ? -1 : static_cast<int>(rng.below(s.V));
    return labels;
}

// Forward only evaluates; backward computes the loss again, with its gradients.
template <class T>
Problem<T> head(Shape s, const std::vector<int>& label_list, double divisor, uint64_t seed) {
    reserve_workspace<T>(head_loss_workspace<T>(s.R, s.V));
    Problem<T> p("head_loss", {s.R, s.C, s.V}, seed);
    p.least_scale = p.offset = 1 / (divisor * s.V);
    T* const x = p.input("x", size_t(s.R) * s.C);
    T* const w = p.input("w", size_t(s.V + padding) * s.C);
    const int* const labels = p.integers("labels", label_list);
    double* const loss = p.template accumulated_output<double>("loss", 1, s.R + s.C);
    p.template upstream<double>("loss");
    p.set("dloss", {1});
    double* const again =
        p.template accumulated_output<double>("loss again", 1, s.R + s.C, Stage::backward);
    T* const dx = p.gradient("x", s.V);
    Accum<T>* const dw = p.accumulated_gradient("w", s.R, size_t(s.V) * s.C);
    std::vector<double> padded = p.values("w");  // padding is never read: it may be NaN
    std::fill(padded.end() - padding * s.C, padded.end(), NAN);
    p.set("w", padded);
    p.forward = [=] { head_loss<T>(loss, nullptr, nullptr, x, w, labels, s.R, s.C, s.V, divisor); };
    p.backward = [=] { head_loss<T>(again, dx, dw, x, w, labels, s.R, s.C, s.V, divisor); };
    return p;
}

template <class T>
Problem<T> head(Shape s, uint64_t seed) {
    return head<T>(s, labels_of(s, seed), 0.7 * s.R, seed);
}

// Logits and loss are kept in float. Their gradients are rounded to bf16 before they meet x and w.
// In dw that is one rounding of each term; in dx two before its own: the label's, and those of all
// others, which together are as large.
const Roundings bf16_roundings = {{"dx", 3}, {"dw", 1}};

struct Reference {
    double loss = 0;
    std::vector<double> dx, dw;
};

// Straight from the equation in kernels.h, one row at a time.
Reference reference(Shape s, const std::vector<int>& labels, double divisor,
                    const std::vector<double>& x, const std::vector<double>& w) {
    const size_t C = s.C;
    Reference result{0, std::vector<double>(s.R * C), std::vector<double>(s.V * C)};
    std::vector<double> p(s.V);
    for (int r = 0; r < s.R; r++) {
        if (labels[r] < 0) continue;
        double most = -INFINITY, sum = 0;
        for (int v = 0; v < s.V; v++) {
            p[v] = 0;
            for (size_t c = 0; c < C; c++) p[v] += x[r * C + c] * w[v * C + c];
            most = std::max(most, p[v]);
        }
        for (int v = 0; v < s.V; v++) sum += std::exp(p[v] - most);
        result.loss += (most + std::log(sum) - p[labels[r]]) / divisor;
        for (int v = 0; v < s.V; v++) {
            const double dz = (std::exp(p[v] - most) / sum - (v == labels[r])) / divisor;
            for (size_t c = 0; c < C; c++) {
                result.dx[r * C + c] += dz * w[v * C + c];
                result.dw[v * C + c] += dz * x[r * C + c];
            }
        }
    }
    return result;
}

std::string reference_errors(Shape s, const std::vector<int>& labels, double divisor,
                             double magnitude, uint64_t seed) {
    auto p = head<double>(s, labels, divisor, seed);
    std::vector<double> x = p.values("x");
    for (double& value : x) value *= magnitude;
    p.set("x", x);
    p.run();
    const Reference r = reference(s, labels, divisor, x, p.values("w"));
    const double tolerance = 1e-13 * magnitude;
    return p.errors() + difference(p.values("loss"), {r.loss}, tolerance * std::max(1.0, r.loss)) +
           difference(p.values("loss again"), {r.loss}, tolerance * std::max(1.0, r.loss)) +
           difference(p.values("dx"), r.dx, tolerance * std::max(1.0, largest(r.dx))) +
           difference(p.values("dw"), r.dw, tolerance * std::max(1.0, largest(r.dw)));
}

}  // namespace

TEST_CASE("head_loss: against its equation", "[loss]") {
    for (const uint64_t seed : seeds)
        for (const Shape& s : shapes) {
            CAPTURE(seed, s.R, s.C, s.V);
            CHECK(reference_errors(s, labels_of(s, seed), 0.7 * s.R, 1, seed) == "");
        }
}

TEST_CASE("head_loss: logits in the thousands do not overflow", "[loss]") {
    const Shape s{7, 5, 11};
    CHECK(reference_errors(s, labels_of(s, 1), 7, 2000, 1) == "");
}

TEST_CASE("head_loss: gradients", "[loss]") {
    for (const uint64_t seed : seeds)
        for (const Shape& s : shapes) {
            auto p = head<double>(s, seed);
            p.run();
            CHECK(difference(p.values("loss again"), p.values("loss"), 1e-14) == "");
            CHECK(gradient_errors(std::move(p), 32) == "");
        }
}

TEST_CASE("head_loss: more logits than are held at once", "[loss]") {
    // Whatever a chunk holds in either type, these rows need a second one, and the last is short.
    const Shape s{170, 2, 100003};
    REQUIRE(head_loss_workspace<double>(s.R, s.V) < sizeof(double) * s.R * s.V);
    REQUIRE(head_loss_workspace<float>(s.R, s.V) - linear_workspace<float>() <
            sizeof(float) * s.R * s.V);
    CHECK(reference_errors(s, labels_of(s, 1), 100, 1, 1) == "");
    REQUIRE(head_loss_workspace<bf16>(s.R, s.V) - linear_workspace<bf16>() <
            (sizeof(float) + sizeof(bf16)) * s.R * s.V);
    CHECK(float_errors(head<float>(s, 1), head<double>(s, 1), 4) == "");
    CHECK(bf16_errors(head<bf16>(s, 1), head<double>(s, 1), 4, bf16_roundings) == "");
}

TEST_CASE("head_loss: rows without a label count for nothing", "[loss]") {
    const Shape s{5, 3, 7};
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
    CHECK(difference(p.run().values("loss"), {0}, 1e-15) == "");
    CHECK(difference(p.values("dx"), std::vector<double>(12, 0.0), 1e-15) == "");
}

TEST_CASE("head_loss: equal logits cost ln V", "[loss]") {
    auto p = head<double>({4, 2, 100}, {0, 99, 50, 7}, 4, 1);
    p.set("x", std::vector<double>(8, 0.0));
    CHECK(difference(p.run().values("loss"), {std::log(100)}, 1e-14) == "");
}

TEST_CASE("head_loss: a NaN in the input shows in the loss", "[loss]") {
    auto p = head<float>({3, 2, 5}, {0, 1, 2}, 3, 1);
    std::vector<double> x = p.values("x");
    x[3] = NAN;
    p.set("x", x);
    CHECK(std::isnan(p.run().values("loss")[0]));
}

TEST_CASE("head_loss: float against double", "[loss]") {
    // k = 4: a logit of C terms, an exponential, a sum over V and the product with w or x
    for (const uint64_t seed : seeds)
        for (const Shape& s : shapes)
            CHECK(float_errors(head<float>(s, seed), head<double>(s, seed), 4) == "");
}

TEST_CASE("head_loss: bf16 against double", "[loss]") {
    // k as above
    for (const uint64_t seed : seeds)
        for (const Shape& s : shapes)
            CHECK(bf16_errors(head<bf16>(s, seed), head<double>(s, seed), 4, bf16_roundings) == "");
}

TEST_CASE("head_loss: the same bits twice", "[loss]") {
    CHECK(bit_errors([] { return head<float>({70, 4, 257}, 1); }) == "");
    CHECK(bit_errors([] { return head<double>({70, 4, 257}, 1); }) == "");
    CHECK(bit_errors([] { return head<bf16>({70, 4, 257}, 1); }) == "");
}
