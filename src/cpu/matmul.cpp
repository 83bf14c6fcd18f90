#include "cpu/matmul.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <sstream>
#include <tuple>
#include <vector>

#include "cpu/blas.h"
#include "cpu/narrow.h"
#include "cpu/onednn.h"

namespace peri {

namespace {

// ---- OpenBLAS -----------------------------------------------------------------------------------

CBLAS_TRANSPOSE cblas(Op op) { return op == Op::none ? CblasNoTrans : CblasTrans; }

void gemm(float* c, int ldc, const float* a, int lda, Op op_a, const float* b, int ldb, Op op_b,
          int M, int N, int K, bool add) {
    cblas_sgemm(CblasRowMajor, cblas(op_a), cblas(op_b), M, N, K, 1, a, lda, b, ldb, add ? 1 : 0, c,
                ldc);
}

void gemm(double* c, int ldc, const double* a, int lda, Op op_a, const double* b, int ldb, Op op_b,
          int M, int N, int K, bool add) {
    cblas_dgemm(CblasRowMajor, cblas(op_a), cblas(op_b), M, N, K, 1, a, lda, b, ldb, add ? 1 : 0, c,
                ldc);
}

// Numbers between two rows of x as stored, when op(x) is (rows,cols).
int leading(Op op, int rows, int cols) { return op == Op::none ? cols : rows; }

// ---- bf16 and fp16 through float: any processor can -----------------------------------------------

constexpr int side = 1024;  // of the square blocks that are widened, multiplied, and rounded once

// The block of op(x) (rows,cols) at (row,col), stored as op(x)'s x is, `side` numbers a row.
template <class Narrow>
void widen(float* y, const Narrow* x, Op op, int ld, int row, int col, int rows, int cols) {
    if (op == Op::transpose) {
        std::swap(row, col);
        std::swap(rows, cols);
    }
#pragma omp parallel for schedule(static)
    for (int i = 0; i < rows; i++)
        widen_row(y + size_t(i) * side, x + size_t(row + i) * ld + col, cols);
}

// c = block, or c += block, which is lost.
template <class Narrow>
void round_block(Narrow* c, int ldc, float* block, int rows, int cols, bool add) {
#pragma omp parallel for schedule(static)
    for (int i = 0; i < rows; i++) {
        Narrow* const to = c + size_t(i) * ldc;
        float* const from = block + size_t(i) * side;
        if (add) {
#pragma omp simd
            for (int j = 0; j < cols; j++) from[j] += float(to[j]);
        }
        round_row(to, from, cols);
    }
}

template <class C, class Narrow>
void widened_matmul(C* c, const Narrow* a, Op op_a, const Narrow* b, Op op_b, int M, int N, int K,
                    bool add, void* scratch) {
    constexpr bool rounded = sizeof(C) < sizeof(float);
    float* const a_block = static_cast<float*>(scratch);
    float* const b_block = a_block + side * side;
    for (int m = 0; m < M; m += side)
        for (int n = 0; n < N; n += side) {
            const int rows = std::min(side, M - m), cols = std::min(side, N - n);
            C* const to = c + size_t(m) * N + n;
            float* block = b_block + side * side;
            int ld = side;
            if constexpr (!rounded) block = to, ld = N;
            for (int k = 0; k < K; k += side) {
                const int depth = std::min(side, K - k);
                widen(a_block, a, op_a, leading(op_a, M, K), m, k, rows, depth);
                widen(b_block, b, op_b, leading(op_b, K, N), k, n, depth, cols);
                gemm(block, ld, a_block, side, op_a, b_block, side, op_b, rows, cols, depth,
                     k > 0 || (add && !rounded));
            }
            if constexpr (rounded) round_block(to, N, block, rows, cols, add);
        }
}

template <class C, class Real>
void openblas_matmul(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K,
                     bool add, void* scratch) {
    if constexpr (sizeof(Real) < sizeof(float))
        widened_matmul(c, a, op_a, b, op_b, M, N, K, add, scratch);
    else
        gemm(c, N, a, leading(op_a, M, K), op_a, b, leading(op_b, K, N), op_b, M, N, K, add);
}

// ---- which library for which shape --------------------------------------------------------------

enum class Library { openblas, onednn };
const char* const library_names[] = {"openblas", "onednn"};

enum class Types { fp32, bf16, bf16_to_fp32, fp16, fp16_to_fp32 };
const char* const types_names[] = {"fp32", "bf16", "bf16>fp32", "fp16", "fp16>fp32"};

template <class C, class Real>
constexpr Types types_of = Types::fp32;
template <>
constexpr Types types_of<bf16, bf16> = Types::bf16;
template <>
constexpr Types types_of<float, bf16> = Types::bf16_to_fp32;
template <>
constexpr Types types_of<fp16, fp16> = Types::fp16;
template <>
constexpr Types types_of<float, fp16> = Types::fp16_to_fp32;

struct Shape {
    Types types;
    Op op_a, op_b;
    int M, N, K;
    bool add;

    bool operator<(const Shape& o) const {
        return std::tie(types, op_a, op_b, M, N, K, add) <
               std::tie(o.types, o.op_a, o.op_b, o.M, o.N, o.K, o.add);
    }
};

struct Choice {
    Library library;
    double times_as_fast;
};

std::map<Shape, Choice> choices;

// False where the library cannot.
template <class C, class Real>
bool compute(Library library, C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N,
             int K, bool add, void* scratch) {
    if (library == Library::onednn) return onednn_matmul(c, a, op_a, b, op_b, M, N, K, add);
    openblas_matmul(c, a, op_a, b, op_b, M, N, K, add, scratch);
    return true;
}

}  // namespace

template <class Real>
size_t matmul_scratch() {
    return sizeof(Real) < sizeof(float) ? 3 * size_t(side) * side * sizeof(float) : 0;
}

template <class C, class Real>
void matmul(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K, bool add,
            void* scratch) {
    if constexpr (sizeof(Real) <= sizeof(float)) {
        const auto choice = choices.find({types_of<C, Real>, op_a, op_b, M, N, K, add});
        if (choice != choices.end() && choice->second.library == Library::onednn &&
            onednn_matmul(c, a, op_a, b, op_b, M, N, K, add))
            return;
    }
    openblas_matmul(c, a, op_a, b, op_b, M, N, K, add, scratch);
}

// ---- choosing -----------------------------------------------------------------------------------

namespace {

template <class C, class Real>
bool onednn_can() {
    const Real one = 1;
    C c;
    return onednn_matmul(&c, &one, Op::none, &one, Op::none, 1, 1, 1, false);
}

bool can(Library library, Types types) {
    if (library == Library::openblas) return true;
    switch (types) {
        case Types::fp32:
            return onednn_can<float, float>();
        case Types::bf16:
            return onednn_can<bf16, bf16>();
        case Types::bf16_to_fp32:
            return onednn_can<float, bf16>();
        case Types::fp16:
            return onednn_can<fp16, fp16>();
        case Types::fp16_to_fp32:
            return onednn_can<float, fp16>();
    }
    return false;
}

// Least seconds of four calls of either library, in turn so that both see the same machine;
// infinite for one that cannot.
template <class C, class Real>
std::pair<double, double> seconds_of_both(Op op_a, Op op_b, int M, int N, int K, bool add) {
    const std::vector<Real> a(size_t(M) * K, Real(0)), b(size_t(K) * N, Real(0));
    std::vector<C> c(size_t(M) * N);
    std::vector<char> scratch(matmul_scratch<Real>());
    double least[2] = {INFINITY, INFINITY};
    for (int round = 0; round < 5; round++)
        for (const Library library : {Library::openblas, Library::onednn}) {
            const auto start = std::chrono::steady_clock::now();
            const bool done = compute(library, c.data(), a.data(), op_a, b.data(), op_b, M, N, K,
                                      add, scratch.data());
            const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
            double& best = least[static_cast<int>(library)];
            if (done && round > 0) best = std::min(best, time.count());
        }
    return {least[0], least[1]};
}

}  // namespace

template <class C, class Real>
void tune_matmul([[maybe_unused]] Op op_a, [[maybe_unused]] Op op_b, [[maybe_unused]] int M,
                 [[maybe_unused]] int N, [[maybe_unused]] int K, [[maybe_unused]] bool add) {
    if constexpr (sizeof(Real) <= sizeof(float)) {
        const Shape shape = {types_of<C, Real>, op_a, op_b, M, N, K, add};
        if (choices.contains(shape) || !can(Library::onednn, shape.types)) return;
        // At most 1 GFLOP a call: the longest dimension is cut, which is the rows of a batch or the
        // vocabulary.
        int& longest = M >= N && M >= K ? M : N >= K ? N : K;
        longest = static_cast<int>(
            std::clamp(1e9 / (2.0 * M * N * K) * longest, 1.0, static_cast<double>(longest)));
        const auto [openblas, onednn] = seconds_of_both<C, Real>(op_a, op_b, M, N, K, add);
        choices[shape] = onednn < openblas ? Choice{Library::onednn, openblas / onednn}
                                           : Choice{Library::openblas, onednn / openblas};
    }
}

std::string matmul_choices() {
    std::string lines;
    for (const auto& [s, choice] : choices) {
        char line[120];
        std::snprintf(line, sizeof line, "%s %c%c %d %d %d %s %s %.2f\n",
                      types_names[static_cast<int>(s.types)], s.op_a == Op::none ? 'n' : 't',
                      s.op_b == Op::none ? 'n' : 't', s.M, s.N, s.K, s.add ? "add" : "set",
                      library_names[static_cast<int>(choice.library)], choice.times_as_fast);
        lines += line;
    }
    return lines;
}

namespace {

// Index of a word in a list of names; as many as there are where it is none of them.
template <size_t n>
size_t index_of(const std::string& word, const char* const (&names)[n]) {
    return std::find(names, names + n, word) - names;
}

// "fp32 nt 2048 128 128 set onednn 1.17"
bool read_choice(Shape& s, Choice& choice, const std::string& line) {
    std::istringstream words(line);
    std::string types, ops, mode, library;
    if (!(words >> types >> ops >> s.M >> s.N >> s.K >> mode >> library >> choice.times_as_fast))
        return false;
    const size_t type = index_of(types, types_names), which = index_of(library, library_names);
    if (type == std::size(types_names) || which == std::size(library_names) || ops.size() != 2 ||
        ops.find_first_not_of("nt") != std::string::npos || (mode != "add" && mode != "set"))
        return false;
    s.types = static_cast<Types>(type);
    s.op_a = ops[0] == 'n' ? Op::none : Op::transpose;
    s.op_b = ops[1] == 'n' ? Op::none : Op::transpose;
    s.add = mode == "add";
    choice.library = static_cast<Library>(which);
    return can(choice.library, s.types);
}

}  // namespace

std::string set_matmul_choices(const std::string& text) {
    std::map<Shape, Choice> read;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        Shape shape;
        Choice choice;
        if (!read_choice(shape, choice, line)) return line;
        read[shape] = choice;
    }
    choices = read;
    return "";
}

#define INSTANTIATE(C, Real)                                                                \
    template void matmul(C*, const Real*, Op, const Real*, Op, int, int, int, bool, void*); \
    template void tune_matmul<C, Real>(Op, Op, int, int, int, bool);
INSTANTIATE(double, double)
template size_t matmul_scratch<double>();
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float, float)
INSTANTIATE(bf16, bf16)
INSTANTIATE(fp16, fp16)
INSTANTIATE(float, bf16)
INSTANTIATE(float, fp16)
template size_t matmul_scratch<float>();
template size_t matmul_scratch<bf16>();
template size_t matmul_scratch<fp16>();
#endif
#undef INSTANTIATE

}  // namespace peri
