#include "device.h"
#include "kernels.h"
#include "matmul.h"
#include "parallel.h"

namespace peri {

template <class Real>
size_t linear_workspace() {
    return matmul_scratch<Real>();
}

template <class Real>
__global__ void add_bias_kernel(Real* y, const Accum<Real>* bias, int R, int O) {
    for (size_t i = first_entry(); i < size_t(R) * O; i += entry_stride())
        y[i] = y[i] + bias[i % O];
}

// y = x w^T + bias:   y_ro = sum_c x_rc w_oc + bias_o
template <class Real>
void linear_forward(Real* y, const Real* x, const Real* w, const Accum<Real>* bias, int R, int C,
                    int O) {
    void* const scratch = workspace<Real>(linear_workspace<Real>());
    matmul(y, x, Op::none, w, Op::transpose, R, O, C, false, scratch);
    if (bias)
        launch(add_bias_kernel<Real>, blocks_for(size_t(R) * O), block_size, 0, y, bias, R, O);
}

// dbias[o] += sum_r dy[r,o], a warp an output
template <class Real>
__global__ void add_dbias_kernel(Accum<Real>* dbias, const Real* dy, int R, int O) {
    const size_t o = row_of_warp();
    if (o >= size_t(O)) return;
    Accum<Real> sum = 0;
    for (int r = lane_of_thread(); r < R; r += warp_size) sum += dy[size_t(r) * O + o];
    sum = warp_sum(sum);
    if (lane_of_thread() == 0) dbias[o] += sum;
}

// dx_rc = sum_o dy_ro w_oc,   dw_oc += sum_r dy_ro x_rc,   dbias_o += sum_r dy_ro
template <class Real>
void linear_backward(Real* dx, Accum<Real>* dw, Accum<Real>* dbias, const Real* dy, const Real* x,
                     const Real* w, int R, int C, int O, Dx mode) {
    void* const scratch = workspace<Real>(linear_workspace<Real>());
    if (dx) matmul(dx, dy, Op::none, w, Op::none, R, C, O, mode == Dx::add, scratch);
    if (dw) matmul(dw, dy, Op::transpose, x, Op::none, O, C, R, true, scratch);
    if (dbias) launch(add_dbias_kernel<Real>, blocks_for_rows(O), block_size, 0, dbias, dy, R, O);
}

template <class Real>
void linear_tune(int R, int C, int O) {
    tune_matmul<Real, Real>(Op::none, Op::transpose, R, O, C, false);
    tune_matmul<Real, Real>(Op::none, Op::none, R, C, O, false);
    tune_matmul<Real, Real>(Op::none, Op::none, R, C, O, true);
    tune_matmul<Accum<Real>, Real>(Op::transpose, Op::none, O, C, R, true);
}

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
