// The two libraries behind matrix products, and the choice between them.
#include "catch.h"
#include "compare.h"
#include "cpu/product.h"
#include "random.h"

using namespace peri;

namespace {

std::vector<float> numbers(size_t n, uint64_t seed) {
    Rng rng(seed);
    std::vector<float> values(n);
    for (float& v : values) v = static_cast<float>(rng.normal());
    return values;
}

// The choices of a test do not outlive it: all others run with OpenBLAS.
class Restore {
  public:
    ~Restore() { set_product_choices(""); }
};

std::string line(Op a, Op b, int M, int N, int K, bool add, const char* library) {
    return std::string(a == Op::none ? "n" : "t") + (b == Op::none ? "n " : "t ") +
           std::to_string(M) + " " + std::to_string(N) + " " + std::to_string(K) +
           (add ? " add " : " set ") + library + " 1.00\n";
}

}  // namespace

TEST_CASE("products of both libraries against the definition", "[product]") {
    const Restore restore;
    const int M = 13, N = 7, K = 37;
    for (const char* library : {"openblas", "onednn"})
        for (const Op op_a : {Op::none, Op::transpose})
            for (const Op op_b : {Op::none, Op::transpose})
                for (const bool add : {false, true}) {
                    const std::string choice = line(op_a, op_b, M, N, K, add, library);
                    if (set_product_choices(choice) != "") {
                        WARN("skipped: " << library << " was not there at build time");
                        continue;
                    }
                    CAPTURE(choice);
                    const std::vector<float> a = numbers(M * K, 1), b = numbers(K * N, 2);
                    std::vector<float> c = numbers(M * N, 3);
                    std::vector<double> expected(M * N);
                    for (int m = 0; m < M; m++)
                        for (int n = 0; n < N; n++) {
                            double sum = add ? c[m * N + n] : 0;
                            for (int k = 0; k < K; k++)
                                sum += double(op_a == Op::none ? a[m * K + k] : a[k * M + m]) *
                                       (op_b == Op::none ? b[k * N + n] : b[n * K + k]);
                            expected[m * N + n] = sum;
                        }
                    if (!add) std::fill(c.begin(), c.end(), NAN);
                    product(c.data(), a.data(), op_a, b.data(), op_b, M, N, K, add);
                    // 4 roundings of sums of K terms of order 1
                    const double tolerance = 4 * 1.2e-7 * std::sqrt(K) * largest(expected);
                    CHECK(difference({c.begin(), c.end()}, expected, tolerance) == "");
                }
}

TEST_CASE("choices are made once, saved and set again", "[product]") {
    const Restore restore;
    CHECK(product_choices() == "");
    tune_product(0.0, Op::none, Op::none, 3, 4, 5, false);  // double has one library
    CHECK(product_choices() == "");
    tune_product(0.0f, Op::none, Op::transpose, 30, 40, 50, false);
    tune_product(0.0f, Op::transpose, Op::none, 30, 40, 50, true);
    const std::string saved = product_choices();
    if (saved == "") {
        WARN("skipped: oneDNN was not there at build time, nothing to choose");
        return;
    }
    CHECK_THAT(saved, contains("nt 30 40 50 set "));
    CHECK_THAT(saved, contains("tn 30 40 50 add "));
    tune_product(0.0f, Op::none, Op::transpose, 30, 40, 50, false);
    CHECK(product_choices() == saved);
    CHECK(set_product_choices("") == "");
    CHECK(product_choices() == "");
    CHECK(set_product_choices(saved) == "");
    CHECK(product_choices() == saved);
    for (const char* wrong :
         {"nt 30 40 50 set", "nx 30 40 50 set onednn 1", "nt 3 4 x set onednn 1",
          "nt 30 40 50 put onednn 1", "nt 30 40 50 set mkl 1"})
        CHECK(set_product_choices(wrong) == wrong);
    CHECK(product_choices() == saved);  // what could not be read has changed nothing
}
