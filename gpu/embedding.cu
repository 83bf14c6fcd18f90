#include "kernels.h"
#include "parallel.h"

namespace peri {

// A warp takes a row.
//   numbers moved an entry: 2
template <class Real, int W>
__global__ void embedding_forward_kernel(Real* y, const Real* table, const int* tokens, int R,
                                         int C) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const Real* const from = table + size_t(tokens[r]) * C;
    for (int c = W * lane_of_thread(); c < C; c += W * warp_size)
        store(y + r * C + c, load<W>(from + c));
}

template <class Real>
void embedding_forward(Real* y, const Real* table, const int* tokens, int R, int C) {
    const bool packed = C % wide<Real> == 0 && begins_wide(y) && begins_wide(table);
    launch(packed ? embedding_forward_kernel<Real, wide<Real>> : embedding_forward_kernel<Real, 1>,
           blocks_for_rows(R), block_size, 0, y, table, tokens, R, C);
}

// Rows of one token are neighbours in order: the block that meets the first of them adds them all, so that
// each row of dtable is written by one block. Its warps take the rows in turns, W columns a lane, and their
// sums are added in their order: half of all rows may be those of one token.
template <class Real, int W>
__global__ void embedding_backward_kernel(Accum<Real>* dtable, const Real* dy, const int* tokens,
                                          const int* order, int R, int C) {
    using Sums = Pack<Accum<Real>, W>;
    DYNAMIC_SHARED(Sums, shared);
    const int i = blockIdx.x, c = W * (blockIdx.y * warp_size + lane_of_thread());
    const int token = tokens[order[i]], warp = threadIdx.x / warp_size;
    if (i > 0 && tokens[order[i - 1]] == token) return;  // the whole block
    Sums sums = {};
    for (int j = i + warp; j < R && tokens[order[j]] == token; j += warps_in_block) {
        const auto d = load_if<W>(c < C, dy + size_t(order[j]) * C + c);
        for (int k = 0; k < W; k++) sums[k] += d[k];
    }
    shared[threadIdx.x] = sums;
    __syncthreads();
    if (warp > 0 || c >= C) return;
    auto all = load<W>(dtable + size_t(token) * C + c);
    for (int w = 0; w < warps_in_block; w++)
        for (int k = 0; k < W; k++) all[k] += shared[w * warp_size + lane_of_thread()][k];
    store(dtable + size_t(token) * C + c, all);
}

template <class Real>
void embedding_backward(Accum<Real>* dtable, const Real* dy, const int* tokens, const int* order,
                        int R, int C) {
    const bool packed = C % 4 == 0 && begins_wide(dtable) && begins_wide(dy);
    const int columns = (packed ? 4 : 1) * warp_size;  // of a block
    launch(packed ? embedding_backward_kernel<Real, 4> : embedding_backward_kernel<Real, 1>,
           dim3(R, (C + columns - 1) / columns), block_size,
           block_size * (packed ? 4 : 1) * sizeof(Accum<Real>), dtable, dy, tokens, order, R, C);
}

#define INSTANTIATE(Real)                                                      \
    template void embedding_forward(Real*, const Real*, const int*, int, int); \
    template void embedding_backward(Accum<Real>*, const Real*, const int*, const int*, int, int);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
