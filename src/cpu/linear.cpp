#include "cpu/matmul.h"
#include "cpu/parallel.h"
#include "device.h"
#include "kernels.h"

namespace peri {

template <class Real>
size_t linear_workspace() {
    return matmul_scratch<Real>();
}

// y = x w^T + bias:   y_ro = sum_c x_rc w_oc + bias_o
template <class Real>
void linear_forward(Real* y, const Real* x, const Real* w, const Accum<Real>* bias, int R, int C,
                    int O) {
    void* const scratch = workspace<Real>(linear_workspace<Real>());
    matmul(y, x, Op::none, w, Op::transpose, R, O, C, false, scratch);
    if (!bias) return;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) y[size_t(r) * O + o] = y[size_t(r) * O + o] + bias[o];
}

// dx_rc = sum_o dy_ro w_oc,   dw_oc += sum_r dy_ro x_rc,   dbias_o += sum_r dy_ro
template <class Real>
void linear_backward(Real* dx, Accum<Real>* dw, Accum<Real>* dbias, const Real* dy, const Real* x,
                     const Real* w, int R, int C, int O, Dx mode) {
    void* const scratch = workspace<Real>(linear_workspace<Real>());
    if (dx) matmul(dx, dy, Op::none, w, Op::none, R, C, O, mode == Dx::add, scratch);
    if (dw) matmul(dw, dy, Op::transpose, x, Op::none, O, C, R, true, scratch);
    if (!dbias) return;
    parallel_ranges(O, [=](size_t begin, size_t end, int) {
        for (int r = 0; r < R; r++)
            for (size_t o = begin; o < end; o++) dbias[o] += dy[size_t(r) * O + o];
    });
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
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#endif
#undef INSTANTIATE

}  // namespace peri
