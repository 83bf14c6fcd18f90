// The judges on trial: each comparator must fail on a wrong sign, a dropped term and a NaN, and the
// harness on a kernel that breaks the contract of memory.
#include "catch.h"
#include "gradcheck.h"

using namespace peri;

namespace {

enum class Fault {
    none,
    sign,
    dropped_term,
    truncated,
    not_a_number,
    not_a_number_rounded,
    input_changed,
    overrun,
    underrun,
    added_to_output,
    overwrote_sum,
    read_outside,
    differs_each_time
};

// To bf16 by leaving bits out, as no kernel may.
bf16 truncated(float value) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffff0000);
}

// y_i = x_i^2 w_i + x_i,   dx_i = (2 x_i w_i + 1) dy_i,   dw_i += x_i^2 dy_i: a kernel small enough
// to be seen right, with one fault in its backward at wish.
template <class Real>
Problem<Real> toy(Fault fault, int n = 7) {
    using A = Accum<Real>;
    Problem<Real> p("toy", {n}, 1);
    Real* const x = p.input("x", n);
    Real* const w = p.input("w", n);
    Real* const y = p.output("y", n, 1);
    Real* const dy = p.upstream("y");
    Real* const dx = p.gradient("x", 1);
    Accum<Real>* const dw = p.accumulated_gradient("w", 1);
    p.forward = [=] {
        for (int i = 0; i < n; i++) y[i] = x[i] * x[i] * w[i] + x[i];
    };
    p.backward = [=] {
        static int calls = 0;
        calls++;
        for (int i = 0; i < n; i++) {
            const A slope = 2 * x[i] * w[i] + (fault == Fault::dropped_term && i == n - 1 ? 0 : 1);
            const A next = fault == Fault::read_outside ? 0 * x[i + 1] : 0;
            const A sum = (fault == Fault::added_to_output ? A(dx[i]) : 0) + slope * dy[i] + next;
            dx[i] = fault == Fault::truncated ? Real(truncated(sum)) : Real(sum);
            dw[i] = (fault == Fault::overwrote_sum ? 0 : dw[i]) + x[i] * x[i] * dy[i];
        }
        if (fault == Fault::sign) dx[n / 2] = -dx[n / 2];
        if (fault == Fault::not_a_number) dw[0] = static_cast<A>(NAN);
        if (fault == Fault::not_a_number_rounded) dx[0] = static_cast<A>(NAN);
        if (fault == Fault::input_changed) w[2] = w[2] + 1;
        if (fault == Fault::overrun) dx[n] = 0;
        if (fault == Fault::underrun) dx[-1] = 0;
        if (fault == Fault::differs_each_time) dx[1] = dx[1] * A(calls);
    };
    return p;
}

std::string toy_gradient_errors(Fault fault) { return gradient_errors(toy<double>(fault)); }

// the toy with a fault in the backend's type alone
template <class Real>
std::string toy_conformance_errors(Fault fault, const Roundings& roundings = {}) {
    const auto make = [&](auto t) {
        using U = decltype(t);
        return toy<U>(std::is_same_v<U, double> ? Fault::none : fault);
    };
    return conformance_errors<Real>(make, 4, roundings);
}

std::string toy_float_errors(Fault fault) { return toy_conformance_errors<float>(fault); }

std::string toy_bf16_errors(Fault fault, const Roundings& roundings = {}) {
    return toy_conformance_errors<bf16>(fault, roundings);
}

}  // namespace

TEST_CASE("difference accepts what is within the tolerance", "[compare]") {
    CHECK(difference({}, {}, 0) == "");
    CHECK(difference({1, -2, 0}, {1, -2, -0.0}, 0) == "");
    CHECK(difference({1, -2.5}, {1, -2}, of_format(0.5)) == "");
}

TEST_CASE("difference fails on a wrong sign, a dropped term, a NaN, a wrong length", "[compare]") {
    CHECK_THAT(difference({1, 2, 3}, {1, -2, 3}, 0.1), contains("entry 1: got 2, expected -2"));
    CHECK_THAT(difference({1, 2, 2}, {1, 2, 3}, 0.1), contains("entry 2"));
    CHECK(difference({1, NAN, 3}, {1, 2, 3}, 1e300) != "");
    CHECK(difference({1, 2, 3}, {1, NAN, 3}, 1e300) != "");
    CHECK(difference({NAN}, {NAN}, 1e300) != "");
    CHECK(difference({INFINITY}, {INFINITY}, 1) != "");
    CHECK(difference({1}, {1}, NAN) != "");
    CHECK(difference({1, 2}, {1, 2, 3}, 0.1) != "");
    CHECK_THAT(difference({1, 2, 3}, {4, 5, 6}, 0.1), contains("(3 of 3 fail)"));
}

TEST_CASE("largest does not lose a NaN", "[compare]") {
    CHECK(largest({1, -3, 2}) == 3);
    CHECK(std::isnan(largest({1, NAN, 2})));
    CHECK(std::isnan(largest({NAN, 2})));
}

TEST_CASE("nonzero fails on the least of numbers and on NaN", "[compare]") {
    CHECK(nonzero({0, -0.0}) == "");
    CHECK(nonzero({0, std::numeric_limits<double>::denorm_min()}) != "");
    CHECK(nonzero({NAN}) != "");
}

TEST_CASE("bit_difference fails on the last bit, on the sign of zero and on NaN", "[compare]") {
    CHECK(bit_difference({1, -0.0}, {1, -0.0}) == "");
    CHECK(bit_difference({1}, {std::nextafter(1.0, 2.0)}) != "");
    CHECK(bit_difference({1}, {-1}) != "");
    CHECK(bit_difference({0.0}, {-0.0}) != "");
    CHECK(bit_difference({NAN}, {NAN}) != "");
    CHECK(bit_difference({1}, {1, 2}) != "");
}

TEST_CASE("the gradient checker accepts the right gradient and no other", "[compare]") {
    CHECK(toy_gradient_errors(Fault::none) == "");
    CHECK_THAT(toy_gradient_errors(Fault::sign), contains("dx entry 3"));
    CHECK_THAT(toy_gradient_errors(Fault::dropped_term), contains("dx entry 6"));
    CHECK_THAT(toy_gradient_errors(Fault::not_a_number), contains("dw entry 0"));
}

TEST_CASE("the comparison of float with double accepts the right result and no other",
          "[compare]") {
    CHECK(toy_float_errors(Fault::none) == "");
    CHECK_THAT(toy_float_errors(Fault::sign), contains("dx entry 3"));
    CHECK_THAT(toy_float_errors(Fault::dropped_term), contains("dx entry 6"));
    CHECK_THAT(toy_float_errors(Fault::not_a_number), contains("dw entry 0"));
}

TEST_CASE("the comparison of bf16 with double accepts the right result and no other", "[compare]") {
    CHECK(toy_bf16_errors(Fault::none) == "");
    CHECK_THAT(toy_bf16_errors(Fault::sign), contains("dx entry 3"));
    CHECK_THAT(toy_bf16_errors(Fault::dropped_term), contains("dx entry 6"));
    CHECK_THAT(toy_bf16_errors(Fault::truncated), contains("dx entry"));
    CHECK_THAT(toy_bf16_errors(Fault::not_a_number), contains("dw entry 0"));
    CHECK_THAT(toy_bf16_errors(Fault::not_a_number_rounded), contains("dx entry 0"));
}

TEST_CASE("the comparison of bf16 with double allows an array its own roundings, no more",
          "[compare]") {
    CHECK_THAT(toy_bf16_errors(Fault::none, {{"y", 0}}), contains("against double y entry"));
    CHECK_THAT(toy_bf16_errors(Fault::none, {{"dx", 0}}), contains("against double dx entry"));
    CHECK_THAT(toy_bf16_errors(Fault::sign, {{"dx", 2}}), contains("dx entry 3"));
    CHECK_THAT(toy_bf16_errors(Fault::dropped_term, {{"dx", 2}}), contains("dx entry 6"));
    CHECK_THAT(toy_bf16_errors(Fault::not_a_number, {{"dw", 1}}), contains("dw entry 0"));
}

TEST_CASE("bf16_rounding is half of the distance between neighbours in bf16", "[compare]") {
    CHECK(bf16_rounding(1) == 0x1p-8);
    CHECK(bf16_rounding(-1.999) == 0x1p-8);
    CHECK(bf16_rounding(2) == 0x1p-7);
    CHECK(bf16_rounding(0.75) == 0x1p-9);
    CHECK(bf16_rounding(0) == 0);
    CHECK(bf16_rounding(NAN) == 0);
    CHECK(bf16_rounding(INFINITY) == 0);
}

TEST_CASE("the harness fails on a kernel that breaks the contract of memory", "[compare]") {
    CHECK_THAT(toy_gradient_errors(Fault::input_changed), contains("w was changed"));
    CHECK_THAT(toy_gradient_errors(Fault::overrun), contains("written outside dx"));
    CHECK_THAT(toy_gradient_errors(Fault::underrun), contains("written outside dx"));
    CHECK_THAT(toy_gradient_errors(Fault::added_to_output), contains("dx entry 0: got"));
    CHECK_THAT(toy_gradient_errors(Fault::overwrote_sum), contains("dw entry 0"));
    CHECK_THAT(toy_gradient_errors(Fault::read_outside), contains("dx entry 6: got"));
}

TEST_CASE("the comparison of bits fails on a kernel that is not repeatable", "[compare]") {
    warn_of_one_thread();
    const std::string second = has_openmp ? "on 2 threads, dx" : "on 1 threads, dx";
    CHECK(bit_errors([] { return toy<double>(Fault::none); }) == "");
    CHECK_THAT(bit_errors([] { return toy<double>(Fault::differs_each_time); }),
               contains("on 1 threads, dx") && contains(second));
    CHECK(bit_errors([] { return toy<double>(Fault::not_a_number); }) != "");
    // a kernel that is repeatable on one thread is not let off on two
    CHECK_THAT(toy_float_errors(Fault::differs_each_time),
               contains("on 1 threads, dx") && contains(second));
}

TEST_CASE("conformance is judged with the harness's eyes", "[compare]") {
    CHECK_THAT(toy_float_errors(Fault::input_changed), contains("w was changed"));
    CHECK_THAT(toy_bf16_errors(Fault::overrun), contains("written outside dx"));
    CHECK_THAT(toy_bf16_errors(Fault::underrun), contains("written outside dx"));
    CHECK_THAT(toy_float_errors(Fault::added_to_output), contains("dx entry 0: got"));
    CHECK_THAT(toy_float_errors(Fault::overwrote_sum), contains("dw entry 0"));
    CHECK_THAT(toy_float_errors(Fault::read_outside), contains("dx entry 6: got"));
}
