#include "help/opencl.h"
#include "kernels.h"

EMBED(opencl_activation, "activation.cl");

namespace peri {

using namespace opencl;

namespace {
const File file = {"activation", opencl_activation_begin, opencl_activation_end};
}

template <class Real>
void swiglu_forward(Real* h, const Real* gate, const Real* up, size_t n) {
    launch<Real>(file, "swiglu_forward", groups_for(n), h, gate, up, n);
}

template <class Real>
void swiglu_backward(Real* dgate, Real* dup, const Real* dh, const Real* gate, const Real* up,
                     size_t n) {
    launch<Real>(file, "swiglu_backward", groups_for(n), dgate, dup, dh, gate, up, n);
}

template <class Real>
void relu_forward(Real* h, const Real* x, size_t n) {
    launch<Real>(file, "relu_forward", groups_for(n), h, x, n);
}

template <class Real>
void relu_backward(Real* dx, const Real* dh, const Real* x, size_t n) {
    launch<Real>(file, "relu_backward", groups_for(n), dx, dh, x, n);
}

#define INSTANTIATE(Real)                                                                       \
    template void swiglu_forward(Real*, const Real*, const Real*, size_t);                      \
    template void swiglu_backward(Real*, Real*, const Real*, const Real*, const Real*, size_t); \
    template void relu_forward(Real*, const Real*, size_t);                                     \
    template void relu_backward(Real*, const Real*, const Real*, size_t);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
