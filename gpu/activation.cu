#include "kernels.h"
#include "parallel.h"

namespace peri {

// h = silu(gate) up,   silu(g) = g sigma(g),   sigma(g) = 1 / (1 + exp(-g))
template <class Real>
__global__ void swiglu_forward_kernel(Real* h, const Real* gate, const Real* up, size_t n) {
    for (size_t i = first_entry(); i < n; i += entry_stride()) {
        const Accum<Real> g = gate[i];
        h[i] = g * sigmoid(g) * up[i];
    }
}

template <class Real>
void swiglu_forward(Real* h, const Real* gate, const Real* up, size_t n) {
    launch(swiglu_forward_kernel<Real>, blocks_for(n), block_size, 0, h, gate, up, n);
}

// dup = dh silu(g),   dgate = dh up silu'(g),   silu'(g) = sigma(g) (1 + g (1 - sigma(g)))
template <class Real>
__global__ void swiglu_backward_kernel(Real* dgate, Real* dup, const Real* dh, const Real* gate,
                                       const Real* up, size_t n) {
    for (size_t i = first_entry(); i < n; i += entry_stride()) {
        const Accum<Real> g = gate[i], u = up[i], d = dh[i], s = sigmoid(g);
        dgate[i] = d * u * s * (1 + g * (1 - s));
        dup[i] = d * g * s;
    }
}

template <class Real>
void swiglu_backward(Real* dgate, Real* dup, const Real* dh, const Real* gate, const Real* up,
                     size_t n) {
    launch(swiglu_backward_kernel<Real>, blocks_for(n), block_size, 0, dgate, dup, dh, gate, up, n);
}

template <class Real>
__global__ void relu_forward_kernel(Real* h, const Real* x, size_t n) {
    for (size_t i = first_entry(); i < n; i += entry_stride())
        h[i] = x[i] < 0 ? Real(0) : x[i];  // so that NaN stays NaN
}

template <class Real>
void relu_forward(Real* h, const Real* x, size_t n) {
    launch(relu_forward_kernel<Real>, blocks_for(n), block_size, 0, h, x, n);
}

template <class Real>
__global__ void relu_backward_kernel(Real* dx, const Real* dh, const Real* x, size_t n) {
    for (size_t i = first_entry(); i < n; i += entry_stride()) dx[i] = x[i] > 0 ? dh[i] : Real(0);
}

template <class Real>
void relu_backward(Real* dx, const Real* dh, const Real* x, size_t n) {
    launch(relu_backward_kernel<Real>, blocks_for(n), block_size, 0, dx, dh, x, n);
}

#define INSTANTIATE(Real)                                                                       \
    template void swiglu_forward(Real*, const Real*, const Real*, size_t);                      \
    template void swiglu_backward(Real*, Real*, const Real*, const Real*, const Real*, size_t); \
    template void relu_forward(Real*, const Real*, size_t);                                     \
    template void relu_backward(Real*, const Real*, const Real*, size_t);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
