#include "catch.h"
#include "gradcheck.h"
#include "problems/residual.h"

using namespace peri;

namespace {

const size_t sizes[] = {1, 2, 7, 33, 129};

}  // namespace

TEST_CASE("residual: gradients", "[residual]") {
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes)
            for (const double alpha : {1.0, 2.5, 24.0})
                CHECK(gradient_errors(residual<double>(n, alpha, seed)) == "");
}

TEST_CASE("residual: y = alpha x + a", "[residual]") {
    auto p = residual<double>(3, 2.5, 1);
    p.set("x", {1, -2, 4});
    CHECK(difference(p.run().values("y"), {3.5, -5, 14}, 0) == "");
}

TEST_CASE("residual: y may be x or a", "[residual]") {
    for (const Sum place : {Sum::in_x, Sum::in_a})
        CHECK(gradient_errors(residual<double>(33, 3, 1, place)) == "");
}

TEST_CASE("residual: the same bits twice", "[residual]") {
    CHECK(bit_errors([] { return residual<double>(1001, 2.5, 1); }) == "");
}
