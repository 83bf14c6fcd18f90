#include "help/product.h"

#include <clblast.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "check.h"
#include "help/opencl.h"

EMBED(opencl_product, "help/product.cl");

namespace peri::opencl {

namespace {

const File file = {"product", opencl_product_begin, opencl_product_end};

// Of the square blocks that are multiplied one by one: CLBlast copies what does not fit its tiles, and blocks bound how
// much memory that takes. Narrow ones are widened, multiplied, and rounded once.
constexpr int side = 1024;
constexpr size_t block_bytes = size_t(side) * side * sizeof(float);

clblast::Transpose clblast_op(Op op) {
    return op == Op::none ? clblast::Transpose::kNo : clblast::Transpose::kYes;
}

// A block as it lies in memory.
struct Block {
    const void* memory;
    int ld;  // from one row to the next
    Op op;
};
const float* floats(const Block& block) { return static_cast<const float*>(block.memory); }

// By CLBlast, whose tables are those of GPUs.
void gemm_of_library(const Block& c, const Block& a, const Block& b, int M, int N, int K, bool add,
                     void* scratch) {
    const Place to = place_of(c.memory, "product"), x = place_of(a.memory, "product"),
                y = place_of(b.memory, "product"), temporary = place_of(scratch, "product");
    CHECK(temporary.offset == 0);  // CLBlast takes no other place
    cl_command_queue q = queue();
    const clblast::StatusCode status = clblast::Gemm<float>(
        clblast::Layout::kRowMajor, clblast_op(a.op), clblast_op(b.op), M, N, K, 1, x.handle,
        x.offset / sizeof(float), a.ld, y.handle, y.offset / sizeof(float), b.ld, add ? 1 : 0,
        to.handle, to.offset / sizeof(float), c.ld, &q, nullptr, temporary.handle);
    if (status == clblast::StatusCode::kSuccess) return;
    std::fprintf(stderr, "product (%d,%d,%d): CLBlast's error %d\n", M, N, K,
                 static_cast<int>(status));
    std::abort();
}

constexpr int rows_of_item = 6;  // ROWS of product.cl

// By an own kernel, from copies of b, two packs of columns side by side.
void gemm_by_panels(const Block& c, const Block& a, const Block& b, int M, int N, int K, bool add,
                    void* scratch) {
    const auto steps = [](const Block& x) {  // from row to row of op(x), and from column to column
        return x.op == Op::none ? std::pair(x.ld, 1) : std::pair(1, x.ld);
    };
    const int panel = 2 * static_cast<int>(wide()), panels = (N + panel - 1) / panel;
    const int tiles = (M + rows_of_item - 1) / rows_of_item;
    const auto [step_m, step_k] = steps(a);
    const auto [step_row, step_column] = steps(b);
    auto* const copies = static_cast<float*>(scratch);
    const auto groups = [](size_t items) { return (items + group() - 1) / group(); };
    launch<float>(file, "make_panels", groups(size_t(panels) * K), copies, floats(b), step_row,
                  step_column, K, N);
    launch<float>(file, "multiply", groups(size_t(tiles) * panels), const_cast<float*>(floats(c)),
                  floats(a), static_cast<const float*>(copies), c.ld, step_m, step_k, M, N, K,
                  int(add));
}

// The block of op(x) (rows,cols) at (row,col), where x is stored with ld numbers a row.
template <class Real>
const Real* at(const Real* x, Op op, int ld, int row, int col) {
    if (op == Op::transpose) std::swap(row, col);
    return x + size_t(row) * ld + col;
}

// The same as float: itself, or widened into `memory`, `side` numbers a row.
template <class Real>
Block as_float(void* memory, const Real* x, Op op, int ld, int row, int col, int rows, int cols) {
    const Real* const block = at(x, op, ld, row, col);
    if constexpr (std::is_same_v<Real, float>) return {block, ld, op};
    if (op == Op::transpose) std::swap(rows, cols);
    launch<Real>(file, "widen", rows, static_cast<float*>(memory), block, side, ld, cols);
    return {memory, side, op};
}

}  // namespace

template <class Real>
size_t product_scratch() {
    return (std::is_same_v<Real, float> ? 3 : 6) * block_bytes;
}

template <class C, class Real>
void product(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K, bool add,
             void* scratch) {
    constexpr bool rounded = !std::is_same_v<C, float>;
    // CLBlast's part comes first; then, for narrow types, a, b and c as float
    char* const blocks = static_cast<char*>(scratch) + 3 * block_bytes;
    const int ld_a = op_a == Op::none ? K : M, ld_b = op_b == Op::none ? N : K;
    for (int m = 0; m < M; m += side)
        for (int n = 0; n < N; n += side) {
            const int rows = std::min(side, M - m), cols = std::min(side, N - n);
            C* const to = c + size_t(m) * N + n;
            auto* const block_c = reinterpret_cast<float*>(blocks + 2 * block_bytes);
            const Block sum = rounded ? Block{block_c, side, Op::none} : Block{to, N, Op::none};
            for (int k = 0; k < K; k += side) {
                const int depth = std::min(side, K - k);
                const Block x = as_float(blocks, a, op_a, ld_a, m, k, rows, depth);
                const Block y = as_float(blocks + block_bytes, b, op_b, ld_b, k, n, depth, cols);
                (for_processor() ? gemm_by_panels : gemm_of_library)(
                    sum, x, y, rows, cols, depth, k > 0 || (add && !rounded), scratch);
            }
            if constexpr (rounded)
                launch<Real>(file, "round_block", rows, to, block_c, N, side, cols, int(add));
        }
}

#define INSTANTIATE(C, Real) \
    template void product(C*, const Real*, Op, const Real*, Op, int, int, int, bool, void*);
INSTANTIATE(float, float)
INSTANTIATE(bf16, bf16)
INSTANTIATE(float, bf16)
INSTANTIATE(fp16, fp16)
INSTANTIATE(float, fp16)
#undef INSTANTIATE
template size_t product_scratch<float>();
template size_t product_scratch<bf16>();
template size_t product_scratch<fp16>();

}  // namespace peri::opencl
