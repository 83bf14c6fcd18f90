#include "catch.h"
#include "gradcheck.h"

using namespace peri;

namespace {

template <class T>
Problem<T> swiglu(size_t n, uint64_t seed) {
    Problem<T> p("swiglu", {static_cast<long>(n)}, seed);
    T* const gate = p.input("gate", n);
    T* const up = p.input("up", n);
    T* const h = p.output("h", n, 1);
    T* const dh = p.upstream("h");
    T* const dgate = p.gradient("gate", 1);
    T* const dup = p.gradient("up", 1);
    p.forward = [=] { swiglu_forward<T>(h, gate, up, n); };
    p.backward = [=] { swiglu_backward<T>(dgate, dup, dh, gate, up, n); };
    return p;
}

template <class T>
Problem<T> relu(size_t n, uint64_t seed) {
    Problem<T> p("relu", {static_cast<long>(n)}, seed);
    T* const x = p.input("x", n);
    T* const h = p.output("h", n, 1);
    T* const dh = p.upstream("h");
    T* const dx = p.gradient("x", 1);
    p.forward = [=] { relu_forward<T>(h, x, n); };
    p.backward = [=] { relu_backward<T>(dx, dh, x, n); };
    return p;
}

const size_t sizes[] = {1, 2, 7, 8, 33, 129};

// |x| up to 30, all exact in bf16: silu's tails and its minimum
std::vector<double> wide_range(size_t n) {
    std::vector<double> result(n);
    for (size_t i = 0; i < n; i++) result[i] = bf16(-30 + 60.0f * static_cast<float>(i) / 128);
    return result;
}

template <class T>
void check_that_nan_stays() {
    auto p = swiglu<T>(3, 1);
    auto q = relu<T>(3, 1);
    p.set("gate", {1, NAN, 1});
    q.set("x", {1, NAN, 1});
    CHECK(std::isnan(p.run().values("h")[1]));
    CHECK(std::isnan(q.run().values("h")[1]));
}

}  // namespace

TEST_CASE("swiglu: gradients", "[activation]") {
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes) CHECK(gradient_errors(swiglu<double>(n, seed)) == "");
    auto wide = swiglu<double>(129, 1);
    wide.set("gate", wide_range(129));
    CHECK(gradient_errors(std::move(wide), 129) == "");
}

TEST_CASE("swiglu: forward against its equation, and at the ends of the range", "[activation]") {
    auto p = swiglu<double>(129, 1);
    const std::vector<double> gate = wide_range(129), up = p.values("up");
    p.set("gate", gate);
    std::vector<double> expected(129);
    for (int i = 0; i < 129; i++) expected[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    CHECK(difference(p.run().values("h"), expected, 1e-13) == "");
    auto far = swiglu<float>(2, 1);
    far.set("gate", {-1e4, 1e4});
    far.set("up", {1, 1});
    CHECK(difference(far.run().values("h"), {0, 1e4}, 1e-30) == "");
    CHECK(difference(far.values("dgate"), {0, far.values("dh")[1]}, 1e-30) == "");
}

TEST_CASE("relu: gradients", "[activation]") {
    // The inputs have |x| >= 0.5, the finite differences step 0.005: no step crosses the kink.
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes) CHECK(gradient_errors(relu<double>(n, seed)) == "");
}

TEST_CASE("relu: zero, exactly, where x <= 0 and the input where x > 0", "[activation]") {
    auto p = relu<float>(5, 1);
    p.set("x", {-2, -1e-30, 0, 1e-30, 3});
    p.run();
    const std::vector<double> x = p.values("x"), h = p.values("h"), dh = p.values("dh");
    CHECK(difference(h, {0, 0, 0, x[3], 3}, 0) == "");
    CHECK(difference(p.values("dx"), {0, 0, 0, dh[3], dh[4]}, 0) == "");
}

TEST_CASE("activations: float against double", "[activation]") {
    // k = 8: an exponential, a division and five products
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes) {
            CHECK(float_errors(swiglu<float>(n, seed), swiglu<double>(n, seed), 8) == "");
            CHECK(float_errors(relu<float>(n, seed), relu<double>(n, seed), 1) == "");
        }
    auto narrow = swiglu<float>(129, 1);
    auto wide = swiglu<double>(129, 1);
    narrow.set("gate", wide_range(129));
    wide.set("gate", wide_range(129));
    CHECK(float_errors(std::move(narrow), std::move(wide), 8) == "");
}

TEST_CASE("activations: bf16 against double", "[activation]") {
    // One rounding, of the result; k as above. relu rounds nothing.
    for (const uint64_t seed : seeds)
        for (const size_t n : sizes) {
            CHECK(bf16_errors(swiglu<bf16>(n, seed), swiglu<double>(n, seed), 8) == "");
            CHECK(bf16_errors(relu<bf16>(n, seed), relu<double>(n, seed), 0,
                              {{"h", 0}, {"dx", 0}}) == "");
        }
    auto narrow = swiglu<bf16>(129, 1);
    auto wide = swiglu<double>(129, 1);
    narrow.set("gate", wide_range(129));
    wide.set("gate", wide_range(129));
    CHECK(bf16_errors(std::move(narrow), std::move(wide), 8) == "");
}

TEST_CASE("activations: a gradient may overwrite dh", "[activation]") {
    const size_t n = 33;
    for (const std::string which : {"gate", "up"}) {
        CAPTURE(which);
        auto p = swiglu<double>(n, 1);
        p.run();
        const std::vector<double> dgate = p.values("dgate"), dup = p.values("dup");
        double* const dh = p.at("dh");
        swiglu_backward<double>(which == "gate" ? dh : p.at("dgate"),
                                which == "up" ? dh : p.at("dup"), dh, p.at("gate"), p.at("up"), n);
        CHECK(difference(p.device_values(which == "gate" ? "dh" : "dgate"), dgate, 0) == "");
        CHECK(difference(p.device_values(which == "up" ? "dh" : "dup"), dup, 0) == "");
    }
    auto p = relu<double>(n, 1);
    const std::vector<double> dx = p.run().values("dx");
    relu_backward<double>(p.at("dh"), p.at("dh"), p.at("x"), n);
    CHECK(difference(p.device_values("dh"), dx, 0) == "");
}

TEST_CASE("activations: NaN stays NaN, so that divergence is seen", "[activation]") {
    check_that_nan_stays<float>();
    check_that_nan_stays<bf16>();
}

TEST_CASE("activations: the same bits twice", "[activation]") {
    CHECK(bit_errors([] { return swiglu<float>(1001, 1); }) == "");
    CHECK(bit_errors([] { return swiglu<double>(1001, 1); }) == "");
    CHECK(bit_errors([] { return swiglu<bf16>(1001, 1); }) == "");
    CHECK(bit_errors([] { return relu<float>(1001, 1); }) == "");
    CHECK(bit_errors([] { return relu<bf16>(1001, 1); }) == "");
}
