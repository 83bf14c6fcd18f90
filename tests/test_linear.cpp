#include "catch.h"
#include "gradcheck.h"

using namespace peri;

namespace {

struct Shape {
    int R, C, O;
};
const Shape shapes[] = {{1, 1, 1},  {1, 5, 3},    {3, 1, 7},  {7, 9, 1},
                        {5, 8, 16}, {13, 17, 11}, {130, 3, 5}};

template <class T>
Problem<T> linear(Shape shape, bool with_bias, Dx mode, uint64_t seed) {
    const auto [R, C, O] = shape;
    Problem<T> p("linear", {R, C, O, with_bias, mode == Dx::add}, seed);
    T* const x = p.input("x", size_t(R) * C);
    T* const w = p.input("w", size_t(O) * C);
    Accum<T>* const bias = with_bias ? p.template input<Accum<T>>("bias", O) : nullptr;
    T* const y = p.output("y", size_t(R) * O, C);
    T* const dy = p.upstream("y");
    T* const dx = mode == Dx::add ? p.template accumulated_gradient<T>("x", O) : p.gradient("x", O);
    Accum<T>* const dw = p.accumulated_gradient("w", R);
    Accum<T>* const dbias = with_bias ? p.accumulated_gradient("bias", R) : nullptr;
    const int rows = R, in = C, out = O;
    p.forward = [=] { linear_forward<T>(y, x, w, bias, rows, in, out); };
    p.backward = [=] { linear_backward<T>(dx, dw, dbias, dy, x, w, rows, in, out, mode); };
    return p;
}

}  // namespace

TEST_CASE("linear: forward against its equation", "[linear]") {
    const int R = 5, C = 7, O = 3;
    auto p = linear<double>({R, C, O}, true, Dx::overwrite, 1);
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
        for (const Shape& shape : shapes)
            for (const bool bias : {false, true})
                for (const Dx mode : {Dx::overwrite, Dx::add})
                    CHECK(gradient_errors(linear<double>(shape, bias, mode, seed), 32) == "");
}

TEST_CASE("linear: float against double", "[linear]") {
    // k = 4: one product and one sum per term
    for (const uint64_t seed : seeds)
        for (const Shape& shape : {shapes[0], shapes[1], shapes[5], shapes[6], Shape{33, 257, 65}})
            for (const Dx mode : {Dx::overwrite, Dx::add})
                CHECK(float_errors(linear<float>(shape, true, mode, seed),
                                   linear<double>(shape, true, mode, seed), 4) == "");
}

TEST_CASE("linear: bf16 against double", "[linear]") {
    // One rounding, of y and of dx, also where dx is added to: the sum is rounded with what was
    // there. A bias is added to a y that is stored already: two. k as above.
    for (const uint64_t seed : seeds)
        for (const Shape& shape : {shapes[0], shapes[1], shapes[5], shapes[6], Shape{33, 257, 65}})
            for (const Dx mode : {Dx::overwrite, Dx::add})
                for (const bool bias : {false, true})
                    CHECK(bf16_errors(linear<bf16>(shape, bias, mode, seed),
                                      linear<double>(shape, bias, mode, seed), 4,
                                      {{"y", bias ? 2 : 1}}) == "");
}

TEST_CASE("linear: any gradient may be left out", "[linear]") {
    const int R = 5, C = 9, O = 3;
    auto p = linear<double>({R, C, O}, true, Dx::overwrite, 1);
    p.run();
    const double* const dy = p.at("dy");
    const double* const x = p.at("x");
    const double* const w = p.at("w");
    const std::vector<double> dx = p.values("dx"), dw = p.values("dw"), dbias = p.values("dbias");
    const auto only = [&](double* a, double* b, double* c) {
        p.backward = [=] { linear_backward<double>(a, b, c, dy, x, w, R, C, O, Dx::overwrite); };
        p.run(Stage::backward);
    };
    only(p.at("dx"), nullptr, nullptr);
    CHECK(difference(p.values("dx"), dx, 1e-13) == "");
    CHECK(nonzero(p.values("dw")) == "");
    CHECK(nonzero(p.values("dbias")) == "");
    only(nullptr, p.at("dw"), nullptr);
    CHECK(difference(p.values("dw"), dw, 1e-13) == "");
    CHECK(nonzero(p.values("dbias")) == "");
    only(nullptr, nullptr, p.at("dbias"));
    CHECK(difference(p.values("dbias"), dbias, 1e-13) == "");
    CHECK(nonzero(p.values("dw")) == "");
    CHECK(p.errors() == "");
}

TEST_CASE("linear: the same bits twice", "[linear]") {
    for (const Shape& shape : {Shape{13, 17, 11}, Shape{130, 64, 96}}) {
        CHECK(bit_errors([&] { return linear<float>(shape, true, Dx::add, 1); }) == "");
        CHECK(bit_errors([&] { return linear<double>(shape, true, Dx::add, 1); }) == "");
        CHECK(bit_errors([&] { return linear<bf16>(shape, true, Dx::add, 1); }) == "");
    }
}

namespace {

// y, dx and dw of ones times 1 + 2^-12, which fp32 holds and tf32 rounds to 1
template <class T>
std::vector<double> sums_of_64() {
    constexpr int n = 64;
    const std::vector<T> odd(n * n, 1 + 0x1p-12f), one(n * n, 1.0f);
    Arena<T> x(n * n * sizeof(T)), w(x.bytes()), y(x.bytes()), dx(x.bytes());
    Arena<T> dw(n * n * sizeof(Accum<T>));
    device_upload<T>(x.at(), odd.data(), x.bytes());
    device_upload<T>(w.at(), one.data(), w.bytes());
    linear_forward<T>(y.at(), x.at(), w.at(), nullptr, n, n, n);
    linear_backward<T>(dx.at(), dw.template at<Accum<T>>(), nullptr, w.at(), x.at(), x.at(), n, n,
                       n, Dx::overwrite);
    T one_y, one_dx;
    Accum<T> one_dw;
    device_download<T>(&one_y, y.at(), sizeof one_y);
    device_download<T>(&one_dx, dx.at(), sizeof one_dx);
    device_download<T>(&one_dw, dw.at(), sizeof one_dw);
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
