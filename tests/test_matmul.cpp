// The two libraries behind matrix products, and the choice between them.
#include <array>
#include <set>

#include "catch.h"
#include "compare.h"
#include "cpu/matmul.h"
#include "cpu/onednn.h"
#include "random.h"

using namespace peri;

namespace {

// Between -1 and 1, rounded to bf16, so that all types see the same numbers.
template <class Real>
std::vector<Real> numbers(size_t n, uint64_t seed) {
    Rng rng(seed);
    std::vector<Real> values(n);
    for (Real& v : values) v = bf16(static_cast<float>(2 * rng.uniform() - 1));
    return values;
}

// The choices of a test do not outlive it: all others run with OpenBLAS.
class Restore {
  public:
    ~Restore() { set_matmul_choices(""); }
};

template <class C, class Real>
const char* const types_name = "fp32";
template <>
const char* const types_name<bf16, bf16> = "bf16";
template <>
const char* const types_name<float, bf16> = "bf16>fp32";
template <>
const char* const types_name<fp16, fp16> = "fp16";
template <>
const char* const types_name<float, fp16> = "fp16>fp32";

struct Shape {
    Op op_a, op_b;
    int M, N, K;
    bool add;

    std::string line(const std::string& types, const char* library) const {
        return types + (op_a == Op::none ? " n" : " t") + (op_b == Op::none ? "n " : "t ") +
               std::to_string(M) + " " + std::to_string(N) + " " + std::to_string(K) +
               (add ? " add " : " set ") + library + " 1.00\n";
    }
};

// The definition, at `most` entries of c drawn at random (all, if there are fewer).
template <class C, class Real>
std::string matmul_errors(const Shape& s, int most) {
    const auto [op_a, op_b, M, N, K, add] = s;
    const std::vector<Real> a = numbers<Real>(size_t(M) * K, 1),
                            b = numbers<Real>(size_t(K) * N, 2);
    const std::vector<C> before = numbers<C>(size_t(M) * N, 3);
    std::vector<C> c = before;
    if (!add) std::fill(c.begin(), c.end(), static_cast<C>(NAN));
    std::vector<char> scratch(matmul_scratch<Real>(), char(0xff));  // NaN
    matmul(c.data(), a.data(), op_a, b.data(), op_b, M, N, K, add,
           scratch.empty() ? nullptr : scratch.data());
    std::vector<double> got, expected, tolerance;
    Rng rng(4);
    const size_t all = size_t(M) * N;
    for (size_t e = 0; e < std::min<size_t>(all, most); e++) {
        const size_t i = all <= size_t(most) ? e : rng.below(all), m = i / N, n = i % N;
        double sum = add ? double(before[i]) : 0;
        for (size_t k = 0; k < size_t(K); k++)
            sum += double(op_a == Op::none ? a[m * K + k] : a[k * M + m]) *
                   double(op_b == Op::none ? b[k * N + n] : b[n * K + k]);
        got.push_back(c[i]);
        expected.push_back(sum);
    }
    // 8 roundings of sums of K terms of order 1, and that of the result to a narrow type
    const double of_sums = roundings<float>(8) * std::sqrt(K) * largest(expected);
    for (const double sum : expected)
        tolerance.push_back(of_sums + of_format(narrow_rounding<C>(sum)));
    return difference(got, expected, tolerance);
}

void warn_once(const std::string& text) {
    static std::set<std::string> said;
    if (said.insert(text).second) WARN(text);
}

template <class C, class Real>
void check_matmuls(int M, int N, int K, int most) {
    const std::string types = types_name<C, Real>;
    for (const char* library : {"openblas", "onednn"})
        for (const Op op_a : {Op::none, Op::transpose})
            for (const Op op_b : {Op::none, Op::transpose})
                for (const bool add : {false, true}) {
                    const Shape shape = {op_a, op_b, M, N, K, add};
                    const std::string choice = shape.line(types, library);
                    if (set_matmul_choices(choice) != "") {
                        warn_once("skipped: " + std::string(library) + " has no " + types +
                                  " here");
                        continue;
                    }
                    CAPTURE(choice);
                    CHECK(matmul_errors<C, Real>(shape, most) == "");
                }
}

template <class C, class Real>
bool onednn_has() {
    const Real one = 1;
    C c = 0;
    return onednn_matmul(&c, &one, Op::none, &one, Op::none, 1, 1, 1, false);
}

}  // namespace

TEST_CASE("products of both libraries against the definition", "[product]") {
    const Restore restore;
    check_matmuls<float, float>(13, 7, 37, 1000);
    check_matmuls<bf16, bf16>(13, 7, 37, 1000);
    check_matmuls<float, bf16>(13, 7, 37, 1000);
    check_matmuls<fp16, fp16>(13, 7, 37, 1000);
    check_matmuls<float, fp16>(13, 7, 37, 1000);
}

// On a processor without bf16 or fp16 they go through float in blocks of 1024 x 1024. All three
// dimensions at once would tell no more, and take minutes where a processor is emulated.
TEST_CASE("bf16 and fp16 products larger than a block, in any two dimensions", "[product]") {
    const Restore restore;
    const int large = 1030;
    for (const auto& [M, N, K] :
         {std::array{large, large, 5}, std::array{large, 3, large}, std::array{3, large, large}}) {
        CAPTURE(M, N, K);
        check_matmuls<bf16, bf16>(M, N, K, 4000);
        check_matmuls<float, bf16>(M, N, K, 4000);
        check_matmuls<fp16, fp16>(M, N, K, 4000);
        check_matmuls<float, fp16>(M, N, K, 4000);
    }
}

TEST_CASE("choices are made once, saved and set again", "[product]") {
    const Restore restore;
    CHECK(matmul_choices() == "");
    tune_matmul<double, double>(Op::none, Op::none, 3, 4, 5, false);  // double has one library
    CHECK(matmul_choices() == "");
    tune_matmul<float, float>(Op::none, Op::transpose, 30, 40, 50, false);
    tune_matmul<float, float>(Op::transpose, Op::none, 30, 40, 50, true);
    tune_matmul<bf16, bf16>(Op::none, Op::none, 30, 40, 50, false);
    tune_matmul<float, bf16>(Op::transpose, Op::none, 30, 40, 50, true);
    const std::string saved = matmul_choices();
    if (saved == "") {
        WARN("skipped: oneDNN was not there at build time, nothing to choose");
        return;
    }
    CHECK_THAT(saved, contains("fp32 nt 30 40 50 set "));
    CHECK_THAT(saved, contains("fp32 tn 30 40 50 add "));
    // where oneDNN has no such product there is nothing to choose
    const auto has_line = [&](const char* start) { return saved.find(start) != saved.npos; };
    CHECK(has_line("bf16 nn 30 40 50 set ") == onednn_has<bf16, bf16>());
    CHECK(has_line("bf16>fp32 tn 30 40 50 add ") == onednn_has<float, bf16>());
    tune_matmul<float, float>(Op::none, Op::transpose, 30, 40, 50, false);
    CHECK(matmul_choices() == saved);
    CHECK(set_matmul_choices("") == "");
    CHECK(matmul_choices() == "");
    CHECK(set_matmul_choices(saved) == "");
    CHECK(matmul_choices() == saved);
    for (const char* wrong :
         {"fp32 nt 30 40 50 set", "fp32 nx 30 40 50 set onednn 1", "fp32 nt 3 4 x set onednn 1",
          "fp32 nt 30 40 50 put onednn 1", "fp32 nt 30 40 50 set mkl 1",
          "fp8 nt 30 40 50 set openblas 1", "fp32>bf16 nt 30 40 50 set openblas 1",
          "nt 30 40 50 set onednn 1", "nt 30 40 50 set openblas 1.17"})
        CHECK(set_matmul_choices(wrong) == wrong);
    CHECK(matmul_choices() == saved);  // what could not be read has changed nothing
}

TEST_CASE("choices for bf16: OpenBLAS always, oneDNN where it can", "[product]") {
    const Restore restore;
    const std::string openblas =
        "bf16 nt 3 4 5 set openblas 1.50\n"
        "bf16>fp32 nt 3 4 5 set openblas 2.00\n";
    CHECK(set_matmul_choices(openblas) == "");
    CHECK(matmul_choices() == openblas);
    for (const auto& [line, has] :
         {std::pair("bf16 nt 3 4 5 set onednn 1", onednn_has<bf16, bf16>()),
          std::pair("bf16>fp32 nt 3 4 5 set onednn 1", onednn_has<float, bf16>())}) {
        CAPTURE(line, has);
        CHECK(set_matmul_choices(line) == (has ? "" : line));
        if (!has) CHECK(matmul_choices() == openblas);
    }
}
