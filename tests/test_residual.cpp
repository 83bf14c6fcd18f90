#include "catch.h"
#include "gradcheck.h"

using namespace peri;

namespace {

// y = alpha x + relu(x): the smallest residual block. Backward is the same kernel at the join of
// the two gradients, dx = alpha dy + da.
template <class T>
Problem<T> block(size_t n, double scale, uint64_t seed) {
    const Accum<T> alpha = static_cast<Accum<T>>(scale);
    Problem<T> p("residual", {static_cast<long>(n)}, seed);
    T* const x = p.input("x", n);
    T* const a = p.output("a", n, 1);
    T* const y = p.output("y", n, 1);
    T* const dy = p.upstream("y");
    T* const dx = p.gradient("x", 1);
    p.forward = [=] {
        relu_forward<T>(a, x, n);
        residual_add<T>(y, x, a, alpha, n);
    };
    p.backward = [=] {
        relu_backward<T>(dx, dy, x, n);
        residual_add<T>(dx, dy, dx, alpha, n);
    };
    return p;
}

const size_t sizes[] = {1, 2, 7, 33, 129};

}  // namespace

TEST_CASE("residual: gradients", "[residual]") {
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes)
            for (const double alpha : {1.0, 2.5, 24.0})
                CHECK(gradient_errors(block<double>(n, alpha, seed)) == "");
}

TEST_CASE("residual: y = alpha x + a", "[residual]") {
    auto p = block<double>(3, 2.5, 1);
    p.set("x", {1, -2, 4});
    CHECK(difference(p.run().values("y"), {3.5, -5, 14}, 0) == "");
}

TEST_CASE("residual: y may be x or a", "[residual]") {
    const size_t n = 33;
    auto p = block<double>(n, 3, 1);
    const std::vector<double> y = p.run().values("y"), x = p.values("x");
    residual_add<double>(p.at("a"), p.at("x"), p.at("a"), 3, n);
    CHECK(difference(p.device_values("a"), y, 0) == "");
    p.run(Stage::forward);
    residual_add<double>(p.at("x"), p.at("x"), p.at("a"), 3, n);
    CHECK(difference(p.device_values("x"), y, 0) == "");
}

TEST_CASE("residual: float against double", "[residual]") {
    // k = 2: a product and a sum
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes)
            CHECK(float_errors(block<float>(n, 2.5, seed), block<double>(n, 2.5, seed), 2) == "");
}

TEST_CASE("residual: bf16 against double", "[residual]") {
    // One rounding, of y and of dx: a is stored in bf16 too, but relu rounds nothing. k as above.
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes)
            CHECK(bf16_errors(block<bf16>(n, 2.5, seed), block<double>(n, 2.5, seed), 2,
                              {{"a", 0}}) == "");
}

TEST_CASE("residual: the same bits twice", "[residual]") {
    CHECK(bit_errors([] { return block<float>(1001, 2.5, 1); }) == "");
    CHECK(bit_errors([] { return block<double>(1001, 2.5, 1); }) == "");
    CHECK(bit_errors([] { return block<bf16>(1001, 2.5, 1); }) == "");
}
