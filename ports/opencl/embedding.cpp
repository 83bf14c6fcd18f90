#include "help/opencl.h"
#include "kernels.h"

EMBED(opencl_embedding, "embedding.cl");

namespace peri {

using namespace opencl;

namespace {
const File file = {"embedding", opencl_embedding_begin, opencl_embedding_end};
}

template <class Real>
void embedding_forward(Real* y, const Real* table, const int* tokens, int R, int C) {
    launch<Real>(file, "embedding_forward", R, y, table, tokens, C);
}

template <class Real>
void embedding_backward(Accum<Real>* dtable, const Real* dy, const int* tokens, const int* order,
                        int R, int C) {
    launch<Real>(file, "embedding_backward", R, dtable, dy, tokens, order, R, C);
}

#define INSTANTIATE(Real)                                                      \
    template void embedding_forward(Real*, const Real*, const int*, int, int); \
    template void embedding_backward(Accum<Real>*, const Real*, const int*, const int*, int, int);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
