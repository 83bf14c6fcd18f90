#include "device.h"
#include "kernels.h"
#include "parallel.h"
#include "product.h"

namespace peri {

template <class T>
size_t linear_workspace() {
    return product_scratch<T>();
}

template <class T>
__global__ void add_bias_kernel(T* y, const Accum<T>* bias, int R, int O) {
    for (size_t i = first_entry(); i < size_t(R) * O; i += entry_stride())
        y[i] = y[i] + bias[i % O];
}

// y = x w^T + bias:   y_ro = sum_c x_rc w_oc + bias_o
template <class T>
void linear_forward(T* y, const T* x, const T* w, const Accum<T>* bias, int R, int C, int O) {
    void* const scratch = workspace<T>(linear_workspace<T>());
    product(y, x, Op::none, w, Op::transpose, R, O, C, false, scratch);
    if (bias) launch(add_bias_kernel<T>, blocks_for(size_t(R) * O), block_size, 0, y, bias, R, O);
}

// dbias[o] += sum_r dy[r,o], a warp an output
template <class T>
__global__ void add_dbias_kernel(Accum<T>* dbias, const T* dy, int R, int O) {
    const size_t o = row_of_warp();
    if (o >= size_t(O)) return;
    Accum<T> sum = 0;
    for (int r = lane_of_thread(); r < R; r += warp_size) sum += dy[size_t(r) * O + o];
    sum = warp_sum(sum);
    if (lane_of_thread() == 0) dbias[o] += sum;
}

// dx_rc = sum_o dy_ro w_oc,   dw_oc += sum_r dy_ro x_rc,   dbias_o += sum_r dy_ro
template <class T>
void linear_backward(T* dx, Accum<T>* dw, Accum<T>* dbias, const T* dy, const T* x, const T* w,
                     int R, int C, int O, Dx mode) {
    void* const scratch = workspace<T>(linear_workspace<T>());
    if (dx) product(dx, dy, Op::none, w, Op::none, R, C, O, mode == Dx::add, scratch);
    if (dw) product(dw, dy, Op::transpose, x, Op::none, O, C, R, true, scratch);
    if (dbias) launch(add_dbias_kernel<T>, blocks_for_rows(O), block_size, 0, dbias, dy, R, O);
}

template <class T>
void linear_tune(int, int, int) {}  // cuBLASLt chooses by shape

#define INSTANTIATE(T)                                                                         \
    template size_t linear_workspace<T>();                                                     \
    template void linear_forward(T*, const T*, const T*, const Accum<T>*, int, int, int);      \
    template void linear_backward(T*, Accum<T>*, Accum<T>*, const T*, const T*, const T*, int, \
                                  int, int, Dx);                                               \
    template void linear_tune<T>(int, int, int);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
