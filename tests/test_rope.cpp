#include "catch.h"
#include "gradcheck.h"
#include "problems/rope.h"

using namespace peri;

namespace {

const RopeCase cases[] = {{1, 1, 1, 2, 0}, {1, 5, 1, 2, 3}, {2, 3, 3, 6, 0}, {2, 7, 2, 10, 4}};

double dot(const double* a, const double* b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

}  // namespace

TEST_CASE("rope: the table is cos and sin of t base^(-2i/D)", "[rope]") {
    const int T = 9, D = 6;
    auto p = rope<double>({1, T, 1, D, 0}, 1);
    std::vector<double> expected(T * D);
    for (int t = 0; t < T; t++)
        for (int i = 0; i < D / 2; i++) {
            expected[t * D + i] = std::cos(t * std::pow(rope_base, -2.0 * i / D));
            expected[t * D + D / 2 + i] = std::sin(t * std::pow(rope_base, -2.0 * i / D));
        }
    CHECK(difference(p.run().values("table"), expected, roundings(64)) ==
          "");  // an angle of up to 8
}

TEST_CASE("rope: each pair (i, i + D/2) turns by its position's angle", "[rope]") {
    const RopeCase s{2, 3, 2, 4, 5};
    auto p = rope<double>(s, 1);
    const std::vector<double> x = p.values("x");
    std::vector<double> expected(x.size());
    for (size_t row = 0; row < x.size() / s.D; row++)
        for (int i = 0; i < s.D / 2; i++) {
            const int t = s.first + static_cast<int>(row / s.H) % s.T;
            const double angle = t * std::pow(rope_base, -2.0 * i / s.D);
            const size_t a = row * s.D + i, b = a + s.D / 2;
            expected[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
            expected[b] = x[a] * std::sin(angle) + x[b] * std::cos(angle);
        }
    CHECK(difference(p.run().values("y"), expected, roundings(64)) == "");
}

TEST_CASE("rope: gradients", "[rope]") {
    for (const uint64_t seed : seeds)
        for (const RopeCase& c : cases) {
            // only x is an input with a gradient: the table is constant
            CHECK(gradient_errors(rope<double>(c, seed)) == "");
        }
}

TEST_CASE("rope: a rotation keeps norms, and scores depend on distance alone", "[rope]") {
    const int T = 12, D = 8;
    auto u = rope<double>({1, T, 1, D, 0}, 1);
    auto v = rope<double>({1, T, 1, D, 0}, 2);
    std::vector<double> x = u.values("x"), z = v.values("x");
    for (int i = D; i < T * D; i++) {  // the same vector at every position
        x[i] = x[i % D];
        z[i] = z[i % D];
    }
    u.set("x", x);
    v.set("x", z);
    const std::vector<double> q = u.run().values("y"), k = v.run().values("y");
    for (int m = 0; m < T; m++) {
        CAPTURE(m);
        const double norm = dot(&x[0], &x[0], D);
        CHECK(difference({dot(&q[m * D], &q[m * D], D)}, {norm}, roundings(8 * D) * norm) == "");
        for (int n = 0; n <= m; n++)
            CHECK(difference({dot(&q[m * D], &k[n * D], D)}, {dot(&q[(m - n) * D], &k[0], D)},
                             roundings(8 * D) * norm) == "");
    }
    const double next = dot(&q[D], &k[0], D), far = dot(&q[5 * D], &k[0], D);
    CHECK(std::abs(next - far) > 1e-3);  // and they do depend on it
}

TEST_CASE("rope: first = f equals the tokens from f on of a longer call", "[rope]") {
    const int T = 9, H = 2, D = 6, first = 4, row = H * D;
    auto whole = rope<double>({1, T, H, D, 0}, 1);
    auto part = rope<double>({1, T - first, H, D, first}, 1);
    const auto tail = [&](const std::vector<double>& v) {
        return std::vector<double>(v.begin() + first * row, v.end());
    };
    part.set("x", tail(whole.values("x")));
    part.set("dy", tail(whole.values("dy")));
    whole.run();
    part.run();
    CHECK(difference(part.values("y"), tail(whole.values("y")), roundings(8)) == "");
    CHECK(difference(part.values("dx"), tail(whole.values("dx")), roundings(8)) == "");
}

TEST_CASE("rope: y may be x, dx may be dy, and backward undoes forward", "[rope]") {
    const RopeCase s{2, 7, 2, 10, 4};
    auto p = rope<double>(s, 1);
    p.run();
    const std::vector<double> x = p.values("x"), y = p.values("y"), dx = p.values("dx");
    double* const table = p.at("table");
    rope_forward<double>(p.at("x"), p.at("x"), table, s.B, s.T, s.H, s.D, s.first);
    CHECK(difference(p.device_values("x"), y, roundings(8)) == "");
    rope_backward<double>(p.at("x"), p.at("x"), table, s.B, s.T, s.H, s.D, s.first);
    CHECK(difference(p.device_values("x"), x, roundings(32)) == "");
    rope_backward<double>(p.at("dy"), p.at("dy"), table, s.B, s.T, s.H, s.D, s.first);
    CHECK(difference(p.device_values("dy"), dx, roundings(8)) == "");
}

TEST_CASE("rope: the same bits twice", "[rope]") {
    CHECK(bit_errors([] { return rope<double>({2, 33, 3, 10, 4}, 1); }) == "");
}
