#include "catch.h"
#include "gradcheck.h"
#include "problems/activation.h"

using namespace peri;

namespace {

const size_t sizes[] = {1, 2, 7, 8, 33, 129};

}  // namespace

TEST_CASE("swiglu: gradients", "[activation]") {
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes) CHECK(gradient_errors(swiglu<double>(n, seed)) == "");
    auto wide = swiglu<double>(129, 1);
    wide.set("gate", wide_range(129));
    CHECK(gradient_errors(std::move(wide), 129) == "");
}

TEST_CASE("swiglu: forward against its equation", "[activation]") {
    auto p = swiglu<double>(129, 1);
    const std::vector<double> gate = wide_range(129), up = p.values("up");
    p.set("gate", gate);
    std::vector<double> expected(129);
    for (int i = 0; i < 129; i++) expected[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    CHECK(difference(p.run().values("h"), expected, roundings(16) * largest(expected)) == "");
}

TEST_CASE("relu: gradients", "[activation]") {
    // The inputs have |x| >= 0.5, the finite differences step 0.005: no step crosses the kink.
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes) CHECK(gradient_errors(relu<double>(n, seed)) == "");
}

TEST_CASE("activations: a gradient may overwrite dh", "[activation]") {
    for (const Overwrite place : {Overwrite::gate, Overwrite::up})
        CHECK(gradient_errors(swiglu<double>(33, 1, place)) == "");
    const bool in_place = true;
    CHECK(gradient_errors(relu<double>(33, 1, in_place)) == "");
}

TEST_CASE("activations: the same bits twice", "[activation]") {
    CHECK(bit_errors([] { return swiglu<double>(1001, 1); }) == "");
    CHECK(bit_errors([] { return relu<double>(1001, 1); }) == "");
}
