#include "kernels.h"
#include "parallel.h"

namespace peri {

template <class Real>
__global__ void embedding_forward_kernel(Real* y, const Real* table, const int* tokens, int R,
                                         int C) {
    for (size_t i = first_entry(); i < size_t(R) * C; i += entry_stride())
        y[i] = table[size_t(tokens[i / C]) * C + i % C];
}

template <class Real>
void embedding_forward(Real* y, const Real* table, const int* tokens, int R, int C) {
    launch(embedding_forward_kernel<Real>, blocks_for(size_t(R) * C), block_size, 0, y, table,
           tokens, R, C);
}

// Rows of one token are neighbours in order: the warp that meets the first of them adds them all,
// so each row of dtable is written by one warp, in the order of the batch.
template <class Real>
__global__ void embedding_backward_kernel(Accum<Real>* dtable, const Real* dy, const int* tokens,
                                          const int* order, int R, int C) {
    const size_t i = row_of_warp();
    if (i >= size_t(R)) return;
    const int token = tokens[order[i]];
    if (i > 0 && tokens[order[i - 1]] == token) return;
    for (int c = lane_of_thread(); c < C; c += warp_size) {
        Accum<Real> sum = dtable[size_t(token) * C + c];
        for (size_t j = i; j < size_t(R) && tokens[order[j]] == token; j++)
            sum += dy[size_t(order[j]) * C + c];
        dtable[size_t(token) * C + c] = sum;
    }
}

template <class Real>
void embedding_backward(Accum<Real>* dtable, const Real* dy, const int* tokens, const int* order,
                        int R, int C) {
    launch(embedding_backward_kernel<Real>, blocks_for_rows(R), block_size, 0, dtable, dy, tokens,
           order, R, C);
}

#define INSTANTIATE(Real)                                                      \
    template void embedding_forward(Real*, const Real*, const int*, int, int); \
    template void embedding_backward(Accum<Real>*, const Real*, const int*, const int*, int, int);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
