#include "catch.h"
#include "gradcheck.h"
#include "problems/norm.h"

using namespace peri;

namespace {

struct Shape {
    int R, C;
};
const Shape shapes[] = {{1, 1}, {3, 1}, {1, 2}, {5, 7}, {4, 8}, {2, 13}, {67, 5}, {3, 131}};

// A matrix, row by row
using Matrix = std::vector<double>;

// Eqs. 26 to 30: J_pq = gamma_p (delta_pq / sqrt(ms + eps) - a_p a_q / (D (ms + eps)^(3/2)))
Matrix rmsnorm_jacobian(const std::vector<double>& a, const std::vector<double>& gamma,
                        double eps) {
    const size_t D = a.size();
    double ms = 0;
    for (const double v : a) ms += v * v / D;
    Matrix J(D * D);
    for (size_t p = 0; p < D; p++)
        for (size_t q = 0; q < D; q++)
            J[p * D + q] = gamma[p] * ((p == q) / std::sqrt(ms + eps) -
                                       a[p] * a[q] / (D * std::pow(ms + eps, 1.5)));
    return J;
}

// With c = a - mean a: J_pq = gamma_p ((delta_pq - 1/D) / sqrt(var + eps)
//                                      - c_p c_q / (D (var + eps)^(3/2)))
Matrix layernorm_jacobian(const std::vector<double>& a, const std::vector<double>& gamma,
                          double eps) {
    const size_t D = a.size();
    double mean = 0, var = 0;
    for (const double v : a) mean += v / D;
    for (const double v : a) var += (v - mean) * (v - mean) / D;
    Matrix J(D * D);
    for (size_t p = 0; p < D; p++)
        for (size_t q = 0; q < D; q++)
            J[p * D + q] =
                gamma[p] * (((p == q) - 1.0 / D) / std::sqrt(var + eps) -
                            (a[p] - mean) * (a[q] - mean) / (D * std::pow(var + eps, 1.5)));
    return J;
}

Matrix numeric_jacobian(Problem<double> one_row) {
    const size_t D = one_row.values("x").size();
    Matrix J(D * D);
    const Threads one(1);  // as in gradient_errors
    for (size_t q = 0; q < D; q++) {
        const std::vector<double> column = derivative(one_row, "x", q);
        for (size_t p = 0; p < D; p++) J[p * D + q] = column[p];
    }
    return J;
}

// D equal rows x with the unit vectors as dy: row p of dx is e_p^T J, row p of J.
Matrix backward_jacobian(Problem<double> rows, const std::vector<double>& x,
                         const std::vector<double>& gamma) {
    const size_t D = x.size();
    Matrix all_x, unit(D * D);
    for (size_t p = 0; p < D; p++) {
        all_x.insert(all_x.end(), x.begin(), x.end());
        unit[p * D + p] = 1;
    }
    rows.set("x", all_x);
    rows.set("dy", unit);
    rows.set("gamma", gamma);
    return rows.run().values("dx");
}

// A norm of one row and of as many rows as it is wide, against its Jacobian in closed form.
template <class Norm, class Jacobian>
void check_jacobian(Norm norm, Jacobian jacobian) {
    for (const uint64_t seed : seeds)
        for (const int D : {1, 2, 5, 16, 33})
            for (const double eps : {1e-5, 0.1}) {
                CAPTURE(seed, D, eps);
                const Problem<double> row = norm({1, D, eps}, seed);
                const std::vector<double> x = row.values("x"), gamma = row.values("gamma");
                const Matrix J = jacobian(x, gamma, eps);
                CHECK(difference(numeric_jacobian(norm({1, D, eps}, seed)), J, 1e-9) == "");
                CHECK(difference(backward_jacobian(norm({D, D, eps}, seed), x, gamma), J,
                                 roundings(32 * (D + 4)) * std::max(1.0, largest(J))) == "");
            }
}

}  // namespace

TEST_CASE("rmsnorm: gradients", "[norm]") {
    for (const uint64_t seed : seeds)
        for (const auto [R, C] : shapes)
            for (const double eps : {1e-5, 0.1})
                CHECK(gradient_errors(rmsnorm<double>({R, C, eps}, seed)) == "");
}

TEST_CASE("layernorm: gradients", "[norm]") {
    for (const uint64_t seed : seeds)
        for (const auto [R, C] : shapes)
            CHECK(gradient_errors(layernorm<double>({R, C, 0.1}, seed)) == "");
    // eps 1e-5 only where no row has a variance so small that finite differences lose their way
    for (const uint64_t seed : seeds)
        CHECK(gradient_errors(layernorm<double>({3, 13, 1e-5}, seed)) == "");
}

TEST_CASE("rmsnorm: the Jacobian of Eqs. 26 to 30, entry by entry", "[norm]") {
    check_jacobian(rmsnorm<double>, rmsnorm_jacobian);
}

TEST_CASE("layernorm: its Jacobian, entry by entry", "[norm]") {
    check_jacobian(layernorm<double>, layernorm_jacobian);
}

TEST_CASE("norms: the values kept for backward are those of the contract", "[norm]") {
    auto p = layernorm<double>({3, 5, 0.1}, 1);
    auto q = rmsnorm<double>({3, 5, 0.1}, 1);
    p.run();
    q.run();
    const std::vector<double> x = p.values("x");
    std::vector<double> mean(3), layer_rstd(3), rms_rstd(3);
    for (int r = 0; r < 3; r++) {
        double square = 0;
        for (int c = 0; c < 5; c++) {
            mean[r] += x[r * 5 + c] / 5;
            square += x[r * 5 + c] * x[r * 5 + c] / 5;
        }
        layer_rstd[r] = 1 / std::sqrt(square - mean[r] * mean[r] + 0.1);
        rms_rstd[r] = 1 / std::sqrt(square + 0.1);
    }
    CHECK(difference(p.values("mean"), mean, roundings(32)) == "");
    // mean x^2 - (mean x)^2 cancels: a rounding grows by rstd^3 / 2, at most 0.1^(-3/2) / 2 = 16
    CHECK(difference(p.values("rstd"), layer_rstd, roundings(16 * 32)) == "");
    CHECK(difference(q.values("rstd"), rms_rstd, roundings(32)) == "");
}

TEST_CASE("norms: dx may be dy, parameter gradients may be null", "[norm]") {
    const bool in_place = true;
    CHECK(gradient_errors(rmsnorm<double>({5, 7, 1e-5, in_place}, 1)) == "");
    CHECK(gradient_errors(rmsnorm<double>({5, 7, 1e-5, in_place, false}, 1)) == "");
    CHECK(gradient_errors(layernorm<double>({5, 7, 0.1, in_place}, 1)) == "");
    for (const bool dgamma : {false, true})
        CHECK(gradient_errors(layernorm<double>({5, 7, 0.1, in_place, dgamma, !dgamma}, 1)) == "");
    CHECK(gradient_errors(layernorm<double>({5, 7, 0.1, in_place, false, false}, 1)) == "");
}

TEST_CASE("norms: the same bits twice", "[norm]") {
    for (const Shape s : {Shape{67, 5}, Shape{130, 37}}) {
        CHECK(bit_errors([&] { return rmsnorm<double>({s.R, s.C, 1e-5}, 1); }) == "");
        CHECK(bit_errors([&] { return layernorm<double>({s.R, s.C, 1e-5}, 1); }) == "");
    }
}

// Added are alpha times the stream, forward, and alpha times the other gradient, backward; all
// else stays as it was. Twice an addition's rounding.
TEST_CASE("norms with a term to add are the norms and an addition", "[norm]") {
    const auto check = [](auto norm) {
        for (const uint64_t seed : seeds)
            for (const double alpha : {1.0, 2.5})
                for (const bool in_place : {false, true}) {
                    CAPTURE(seed, alpha, in_place);
                    auto alone = norm(NormCase{5, 7, 1e-5, in_place}, seed);
                    auto joined = norm(NormCase{5, 7, 1e-5, in_place, true, true, alpha}, seed);
                    alone.run();
                    joined.run();
                    const auto sum = [&](const std::string& result, const std::string& other) {
                        std::vector<double> values = alone.values(result);
                        const std::vector<double> stream = joined.values(other);
                        for (size_t i = 0; i < values.size(); i++) values[i] += alpha * stream[i];
                        return values;
                    };
                    CHECK(difference(joined.values("y"), sum("y", "stream"), roundings(32)) == "");
                    const double dx = roundings(64) * largest(alone.values("dx"));
                    CHECK(difference(joined.values("dx"), sum("dx", "stream_gradient"), dx) == "");
                    CHECK(difference(joined.values("dgamma"), alone.values("dgamma"),
                                     roundings(64)) == "");
                    CHECK(joined.errors() == "");
                }
    };
    check([](NormCase c, uint64_t seed) { return rmsnorm<double>(c, seed); });
    check([](NormCase c, uint64_t seed) { return layernorm<double>(c, seed); });
}
