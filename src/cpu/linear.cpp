#include "cpu/blas.h"
#include "cpu/parallel.h"
#include "kernels.h"

namespace peri {

// y = x w^T + bias:   y_ro = sum_c x_rc w_oc + bias_o
template <class T>
void linear_forward(T* y, const T* x, const T* w, const Accum<T>* bias, int R, int C, int O) {
    gemm(Op::none, Op::transpose, R, O, C, T(1), x, C, w, C, T(0), y, O);
    if (!bias) return;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) y[size_t(r) * O + o] += bias[o];
}

// dx_rc = sum_o dy_ro w_oc,   dw_oc += sum_r dy_ro x_rc,   dbias_o += sum_r dy_ro
template <class T>
void linear_backward(T* dx, Accum<T>* dw, Accum<T>* dbias, const T* dy, const T* x, const T* w,
                     int R, int C, int O, Dx mode) {
    const T beta = mode == Dx::add ? T(1) : T(0);
    if (dx) gemm(Op::none, Op::none, R, C, O, T(1), dy, O, w, C, beta, dx, C);
    if (dw) gemm(Op::transpose, Op::none, O, C, R, T(1), dy, O, x, C, T(1), dw, C);
    if (!dbias) return;
    parallel_ranges(O, [=](size_t begin, size_t end, int) {
        for (int r = 0; r < R; r++)
            for (size_t o = begin; o < end; o++) dbias[o] += dy[size_t(r) * O + o];
    });
}

#define INSTANTIATE(T)                                                                         \
    template void linear_forward(T*, const T*, const T*, const Accum<T>*, int, int, int);      \
    template void linear_backward(T*, Accum<T>*, Accum<T>*, const T*, const T*, const T*, int, \
                                  int, int, Dx);
INSTANTIATE(double)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace peri
