#include "cpu/parallel.h"
#include "cpu/product.h"
#include "device.h"
#include "kernels.h"

namespace peri {

template <class T>
size_t linear_workspace() {
    return product_scratch<T>();
}

// y = x w^T + bias:   y_ro = sum_c x_rc w_oc + bias_o
template <class T>
void linear_forward(T* y, const T* x, const T* w, const Accum<T>* bias, int R, int C, int O) {
    void* const scratch = workspace<T>(linear_workspace<T>());
    product(y, x, Op::none, w, Op::transpose, R, O, C, false, scratch);
    if (!bias) return;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) y[size_t(r) * O + o] = y[size_t(r) * O + o] + bias[o];
}

// dx_rc = sum_o dy_ro w_oc,   dw_oc += sum_r dy_ro x_rc,   dbias_o += sum_r dy_ro
template <class T>
void linear_backward(T* dx, Accum<T>* dw, Accum<T>* dbias, const T* dy, const T* x, const T* w,
                     int R, int C, int O, Dx mode) {
    void* const scratch = workspace<T>(linear_workspace<T>());
    if (dx) product(dx, dy, Op::none, w, Op::none, R, C, O, mode == Dx::add, scratch);
    if (dw) product(dw, dy, Op::transpose, x, Op::none, O, C, R, true, scratch);
    if (!dbias) return;
    parallel_ranges(O, [=](size_t begin, size_t end, int) {
        for (int r = 0; r < R; r++)
            for (size_t o = begin; o < end; o++) dbias[o] += dy[size_t(r) * O + o];
    });
}

template <class T>
void linear_tune(int R, int C, int O) {
    tune_product<T, T>(Op::none, Op::transpose, R, O, C, false);
    tune_product<T, T>(Op::none, Op::none, R, C, O, false);
    tune_product<T, T>(Op::none, Op::none, R, C, O, true);
    tune_product<Accum<T>, T>(Op::transpose, Op::none, O, C, R, true);
}

#define INSTANTIATE(T)                                                                         \
    template size_t linear_workspace<T>();                                                     \
    template void linear_forward(T*, const T*, const T*, const Accum<T>*, int, int, int);      \
    template void linear_backward(T*, Accum<T>*, Accum<T>*, const T*, const T*, const T*, int, \
                                  int, int, Dx);                                               \
    template void linear_tune<T>(int, int, int);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
#endif
#undef INSTANTIATE

}  // namespace peri
