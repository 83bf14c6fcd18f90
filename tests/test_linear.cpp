#include "catch.h"
#include "gradcheck.h"
#include "problems/linear.h"

using namespace peri;

namespace {

struct Shape {
    int R, C, O;
};
const Shape shapes[] = {{1, 1, 1},  {1, 5, 3},    {3, 1, 7},  {7, 9, 1},
                        {5, 8, 16}, {13, 17, 11}, {130, 3, 5}};

}  // namespace

TEST_CASE("linear: forward against its equation", "[linear]") {
    const int R = 5, C = 7, O = 3;
    auto p = linear<double>({R, C, O}, 1);
    const std::vector<double> x = p.values("x"), w = p.values("w"), bias = p.values("bias");
    std::vector<double> y(R * O);
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) {
            y[r * O + o] = bias[o];
            for (int c = 0; c < C; c++) y[r * O + o] += x[r * C + c] * w[o * C + c];
        }
    CHECK(difference(p.run().values("y"), y, 1e-14) == "");
}

TEST_CASE("linear: gradients, with and without bias, overwriting and adding", "[linear]") {
    for (const uint64_t seed : seeds)
        for (const auto [R, C, O] : shapes)
            for (const bool bias : {false, true})
                for (const Dx mode : {Dx::overwrite, Dx::add})
                    CHECK(gradient_errors(linear<double>({R, C, O, bias, mode}, seed), 32) == "");
}

TEST_CASE("linear: any gradient may be left out", "[linear]") {
    LinearCase only_dx{5, 9, 3}, only_dw = only_dx, only_dbias = only_dx;
    only_dx.dw = only_dx.dbias = false;
    only_dw.dx = only_dw.dbias = false;
    only_dbias.dx = only_dbias.dw = false;
    for (const LinearCase& c : {only_dx, only_dw, only_dbias})
        CHECK(gradient_errors(linear<double>(c, 1)) == "");
}

TEST_CASE("linear: the same bits twice", "[linear]") {
    for (const LinearCase& c : {LinearCase{13, 17, 11}, LinearCase{130, 64, 96, true, Dx::add}})
        CHECK(bit_errors([&] { return linear<double>(c, 1); }) == "");
}
