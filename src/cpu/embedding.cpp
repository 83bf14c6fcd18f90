#include <cstring>

#include "kernels.h"

namespace peri {

template <class Real>
void embedding_forward(Real* y, const Real* table, const int* tokens, int R, int C) {
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++)
        std::memcpy(y + size_t(r) * C, table + size_t(tokens[r]) * C, C * sizeof(Real));
}

// Rows of one token are neighbours in order: whoever meets the first of them adds them all, so each
// row of dtable is written by one thread, in the order of the batch.
template <class Real>
void embedding_backward(Accum<Real>* dtable, const Real* dy, const int* tokens, const int* order,
                        int R, int C) {
#pragma omp parallel for schedule(dynamic, 64)
    for (int i = 0; i < R; i++) {
        const int token = tokens[order[i]];
        if (i > 0 && tokens[order[i - 1]] == token) continue;
        Accum<Real>* const row = dtable + size_t(token) * C;
        for (int j = i; j < R && tokens[order[j]] == token; j++) {
            const Real* const d = dy + size_t(order[j]) * C;
#pragma omp simd
            for (int c = 0; c < C; c++) row[c] += d[c];
        }
    }
}

#define INSTANTIATE(Real)                                                      \
    template void embedding_forward(Real*, const Real*, const int*, int, int); \
    template void embedding_backward(Accum<Real>*, const Real*, const int*, const int*, int, int);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#endif
#undef INSTANTIATE

}  // namespace peri
