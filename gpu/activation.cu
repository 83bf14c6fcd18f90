#include "kernels.h"
#include "parallel.h"

namespace peri {

// h = silu(gate) up,   silu(g) = g sigma(g),   sigma(g) = 1 / (1 + exp(-g))
template <class T>
__global__ void swiglu_forward_kernel(T* h, const T* gate, const T* up, size_t n) {
    for (size_t i = first_entry(); i < n; i += entry_stride()) {
        const Accum<T> g = gate[i];
        h[i] = g * sigmoid(g) * up[i];
    }
}

template <class T>
void swiglu_forward(T* h, const T* gate, const T* up, size_t n) {
    launch(swiglu_forward_kernel<T>, blocks_for(n), block_size, 0, h, gate, up, n);
}

// dup = dh silu(g),   dgate = dh up silu'(g),   silu'(g) = sigma(g) (1 + g (1 - sigma(g)))
template <class T>
__global__ void swiglu_backward_kernel(T* dgate, T* dup, const T* dh, const T* gate, const T* up,
                                       size_t n) {
    for (size_t i = first_entry(); i < n; i += entry_stride()) {
        const Accum<T> g = gate[i], u = up[i], d = dh[i], s = sigmoid(g);
        dgate[i] = d * u * s * (1 + g * (1 - s));
        dup[i] = d * g * s;
    }
}

template <class T>
void swiglu_backward(T* dgate, T* dup, const T* dh, const T* gate, const T* up, size_t n) {
    launch(swiglu_backward_kernel<T>, blocks_for(n), block_size, 0, dgate, dup, dh, gate, up, n);
}

template <class T>
__global__ void relu_forward_kernel(T* h, const T* x, size_t n) {
    for (size_t i = first_entry(); i < n; i += entry_stride())
        h[i] = x[i] < 0 ? T(0) : x[i];  // so that NaN stays NaN
}

template <class T>
void relu_forward(T* h, const T* x, size_t n) {
    launch(relu_forward_kernel<T>, blocks_for(n), block_size, 0, h, x, n);
}

template <class T>
__global__ void relu_backward_kernel(T* dx, const T* dh, const T* x, size_t n) {
    for (size_t i = first_entry(); i < n; i += entry_stride()) dx[i] = x[i] > 0 ? dh[i] : T(0);
}

template <class T>
void relu_backward(T* dx, const T* dh, const T* x, size_t n) {
    launch(relu_backward_kernel<T>, blocks_for(n), block_size, 0, dx, dh, x, n);
}

#define INSTANTIATE(T)                                                           \
    template void swiglu_forward(T*, const T*, const T*, size_t);                \
    template void swiglu_backward(T*, T*, const T*, const T*, const T*, size_t); \
    template void relu_forward(T*, const T*, size_t);                            \
    template void relu_backward(T*, const T*, const T*, size_t);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
