#include "cpu/product.h"

#include <cblas.h>
#if __has_include(<dnnl.h>)
#include <dnnl.h>
#define HAVE_ONEDNN
#endif

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <map>
#include <sstream>
#include <tuple>
#include <vector>

namespace peri {

namespace {

enum class Library { openblas, onednn };

struct Shape {
    Op op_a, op_b;
    int M, N, K;
    bool add;

    bool operator<(const Shape& o) const {
        return std::tie(op_a, op_b, M, N, K, add) < std::tie(o.op_a, o.op_b, o.M, o.N, o.K, o.add);
    }
};

struct Choice {
    Library library;
    double times_as_fast;
};

std::map<Shape, Choice> choices;

CBLAS_TRANSPOSE cblas(Op op) { return op == Op::none ? CblasNoTrans : CblasTrans; }

void compute(Library library, float* c, const float* a, const float* b, const Shape& s) {
    const int lda = s.op_a == Op::none ? s.K : s.M, ldb = s.op_b == Op::none ? s.N : s.K;
    const float beta = s.add ? 1 : 0;
#ifdef HAVE_ONEDNN
    if (library == Library::onednn) {
        dnnl_sgemm(s.op_a == Op::none ? 'N' : 'T', s.op_b == Op::none ? 'N' : 'T', s.M, s.N, s.K, 1,
                   a, lda, b, ldb, beta, c, s.N);
        return;
    }
#else
    (void)library;
#endif
    cblas_sgemm(CblasRowMajor, cblas(s.op_a), cblas(s.op_b), s.M, s.N, s.K, 1, a, lda, b, ldb, beta,
                c, s.N);
}

}  // namespace

void product(float* c, const float* a, Op op_a, const float* b, Op op_b, int M, int N, int K,
             bool add) {
    const Shape shape = {op_a, op_b, M, N, K, add};
    const auto choice = choices.find(shape);
    compute(choice == choices.end() ? Library::openblas : choice->second.library, c, a, b, shape);
}

void product(double* c, const double* a, Op op_a, const double* b, Op op_b, int M, int N, int K,
             bool add) {
    cblas_dgemm(CblasRowMajor, cblas(op_a), cblas(op_b), M, N, K, 1, a, op_a == Op::none ? K : M, b,
                op_b == Op::none ? N : K, add ? 1 : 0, c, N);
}

// ---- choosing -----------------------------------------------------------------------------------

void tune_product([[maybe_unused]] float type, [[maybe_unused]] Op op_a, [[maybe_unused]] Op op_b,
                  [[maybe_unused]] int M, [[maybe_unused]] int N, [[maybe_unused]] int K,
                  [[maybe_unused]] bool add) {
#ifdef HAVE_ONEDNN
    const Shape shape = {op_a, op_b, M, N, K, add};
    if (choices.contains(shape)) return;
    // At most 1 GFLOP a call: the longest dimension is cut, which is the rows of a batch or the
    // vocabulary.
    Shape timed = shape;
    int& longest = M >= N && M >= K ? timed.M : N >= K ? timed.N : timed.K;
    longest = static_cast<int>(
        std::clamp(1e9 / (2.0 * M * N * K) * longest, 1.0, static_cast<double>(longest)));
    std::vector<float> a(size_t(timed.M) * timed.K), b(size_t(timed.K) * timed.N);
    std::vector<float> c(size_t(timed.M) * timed.N);
    double best[2] = {std::numeric_limits<double>::infinity(), best[0]};
    for (int round = 0; round < 5; round++)  // in turn, so that both see the same machine
        for (const Library library : {Library::openblas, Library::onednn}) {
            const auto start = std::chrono::steady_clock::now();
            compute(library, c.data(), a.data(), b.data(), timed);
            const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
            double& least = best[static_cast<int>(library)];
            if (round > 0) least = std::min(least, time.count());
        }
    const bool onednn = best[1] < best[0];
    choices[shape] = {onednn ? Library::onednn : Library::openblas,
                      onednn ? best[0] / best[1] : best[1] / best[0]};
#endif
}

std::string product_choices() {
    std::string lines;
    for (const auto& [s, choice] : choices) {
        char line[120];
        std::snprintf(
            line, sizeof line, "%c%c %d %d %d %s %s %.2f\n", s.op_a == Op::none ? 'n' : 't',
            s.op_b == Op::none ? 'n' : 't', s.M, s.N, s.K, s.add ? "add" : "set",
            choice.library == Library::onednn ? "onednn" : "openblas", choice.times_as_fast);
        lines += line;
    }
    return lines;
}

std::string set_product_choices(const std::string& text) {
    std::map<Shape, Choice> read;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string ops, mode, library;
        Shape s;
        double ratio;
        const bool complete(words >> ops >> s.M >> s.N >> s.K >> mode >> library >> ratio);
        const bool known = complete && ops.size() == 2 && (mode == "add" || mode == "set") &&
                           ops.find_first_not_of("nt") == std::string::npos;
#ifdef HAVE_ONEDNN
        const bool there = library == "openblas" || library == "onednn";
#else
        const bool there = library == "openblas";
#endif
        if (!known || !there) return line;
        s.op_a = ops[0] == 'n' ? Op::none : Op::transpose;
        s.op_b = ops[1] == 'n' ? Op::none : Op::transpose;
        s.add = mode == "add";
        read[s] = {library == "onednn" ? Library::onednn : Library::openblas, ratio};
    }
    choices = read;
    return "";
}

}  // namespace peri
