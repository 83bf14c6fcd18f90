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
    CHECK(difference(p.run().values("y"), y, roundings(C + 1) * 2.25 * C) == "");
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

namespace {

// y, dx and dw of ones times 1 + 2^-12, which fp32 holds and tf32 rounds to 1
template <class Real>
std::vector<double> sums_of_64() {
    constexpr int n = 64;
    const std::vector<Real> odd(n * n, 1 + 0x1p-12f), one(n * n, 1.0f);
    Arena<Real> x(n * n * sizeof(Real)), w(x.bytes()), y(x.bytes()), dx(x.bytes());
    Arena<Real> dw(n * n * sizeof(Accum<Real>));
    device_upload<Real>(x.at(), odd.data(), x.bytes());
    device_upload<Real>(w.at(), one.data(), w.bytes());
    linear_forward<Real>(y.at(), x.at(), w.at(), nullptr, n, n, n);
    linear_backward<Real>(dx.at(), dw.template at<Accum<Real>>(), nullptr, w.at(), x.at(), x.at(),
                          n, n, n, Dx::overwrite);
    Real one_y, one_dx;
    Accum<Real> one_dw;
    device_download<Real>(&one_y, y.at(), sizeof one_y);
    device_download<Real>(&one_dx, dx.at(), sizeof one_dx);
    device_download<Real>(&one_dw, dw.at(), sizeof one_dw);
    return {one_y, one_dx, one_dw};
}

}  // namespace

TEST_CASE("linear: tf32 rounds the inputs, where the backend has it", "[linear]") {
    const std::vector<double> exact(3, 64 + 0x1p-6), rounded(3, 64);
    CHECK(sums_of_64<float>() == exact);
    if (std::string(backend_name()) == "cpu") {
        CHECK_THROWS_AS(set_tf32(true), UserError);
        CHECK_FALSE(get_tf32());
        return;
    }
    const std::vector<double> bf16_sums = sums_of_64<bf16>();
    set_tf32(true);
    CHECK(get_tf32());
    CHECK(sums_of_64<float>() == rounded);
    CHECK(sums_of_64<bf16>() == bf16_sums);  // no concern of theirs
    set_tf32(false);
    CHECK(sums_of_64<float>() == exact);  // the choice of a shape's algorithm is not mixed up
}
