#include "device.h"
#include "help/opencl.h"
#include "help/product.h"
#include "kernels.h"

EMBED(opencl_linear, "linear.cl");

namespace peri {

using namespace opencl;

namespace {
const File file = {"linear", opencl_linear_begin, opencl_linear_end};
}

template <class Real>
size_t linear_workspace() {
    return product_scratch<Real>();
}

// y = x w^T + bias:   y_ro = sum_c x_rc w_oc + bias_o
template <class Real>
void linear_forward(Real* y, const Real* x, const Real* w, const Accum<Real>* bias, int R, int C,
                    int O) {
    void* const scratch = workspace<Real>(linear_workspace<Real>());
    product(y, x, Op::none, w, Op::transpose, R, O, C, false, scratch);
    if (bias) launch<Real>(file, "add_bias", R, y, bias, O);
}

// dx_rc = sum_o dy_ro w_oc,   dw_oc += sum_r dy_ro x_rc,   dbias_o += sum_r dy_ro
template <class Real>
void linear_backward(Real* dx, Accum<Real>* dw, Accum<Real>* dbias, const Real* dy, const Real* x,
                     const Real* w, int R, int C, int O, Dx mode) {
    void* const scratch = workspace<Real>(linear_workspace<Real>());
    if (dx) product(dx, dy, Op::none, w, Op::none, R, C, O, mode == Dx::add, scratch);
    if (dw) product(dw, dy, Op::transpose, x, Op::none, O, C, R, true, scratch);
    if (dbias) launch<Real>(file, "add_dbias", groups_for(O), dbias, dy, R, O);
}

// CLBlast chooses by its own tables, and the own kernel has one way.
template <class Real>
void linear_tune(int, int, int) {}

#define INSTANTIATE(Real)                                                                       \
    template size_t linear_workspace<Real>();                                                   \
    template void linear_forward(Real*, const Real*, const Real*, const Accum<Real>*, int, int, \
                                 int);                                                          \
    template void linear_backward(Real*, Accum<Real>*, Accum<Real>*, const Real*, const Real*,  \
                                  const Real*, int, int, int, Dx);                              \
    template void linear_tune<Real>(int, int, int);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
