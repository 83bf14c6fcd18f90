#include "kernels.h"
#include "parallel.h"

namespace peri {

// h = silu(gate) up,   silu(g) = g sigma(g),   sigma(g) = 1 / (1 + exp(-g))
//   numbers moved an entry: 3
template <class Real, int W>
__global__ void swiglu_forward_kernel(Real* h, const Real* gate, const Real* up, size_t n) {
    for (size_t i = first_entry<W>(); i < n; i += entry_stride<W>()) {
        const auto g = load<W>(gate + i), u = load<W>(up + i);
        Pack<Real, W> result;
        for (int k = 0; k < W; k++) result[k] = g[k] * sigmoid(Accum<Real>(g[k])) * u[k];
        store(h + i, result);
    }
}

template <class Real>
void swiglu_forward(Real* h, const Real* gate, const Real* up, size_t n) {
    launch_entries<Real>(swiglu_forward_kernel<Real, wide<Real>>, swiglu_forward_kernel<Real, 1>, n,
                         h, gate, up, n);
}

// dup = dh silu(g),   dgate = dh up silu'(g),   silu'(g) = sigma(g) (1 + g (1 - sigma(g)))
//   numbers moved an entry: 5
template <class Real, int W>
__global__ void swiglu_backward_kernel(Real* dgate, Real* dup, const Real* dh, const Real* gate,
                                       const Real* up, size_t n) {
    for (size_t i = first_entry<W>(); i < n; i += entry_stride<W>()) {
        const auto gs = load<W>(gate + i), us = load<W>(up + i), ds = load<W>(dh + i);
        Pack<Real, W> d_gate, d_up;
        for (int k = 0; k < W; k++) {
            const Accum<Real> g = gs[k], u = us[k], d = ds[k], s = sigmoid(g);
            d_gate[k] = d * u * s * (1 + g * (1 - s));
            d_up[k] = d * g * s;
        }
        store(dgate + i, d_gate);
        store(dup + i, d_up);
    }
}

template <class Real>
void swiglu_backward(Real* dgate, Real* dup, const Real* dh, const Real* gate, const Real* up,
                     size_t n) {
    launch_entries<Real>(swiglu_backward_kernel<Real, wide<Real>>, swiglu_backward_kernel<Real, 1>,
                         n, dgate, dup, dh, gate, up, n);
}

//   numbers moved an entry: 2
template <class Real, int W>
__global__ void relu_forward_kernel(Real* h, const Real* x, size_t n) {
    for (size_t i = first_entry<W>(); i < n; i += entry_stride<W>()) {
        auto a = load<W>(x + i);
        for (int k = 0; k < W; k++)
            if (a[k] < 0) a[k] = 0;  // so that NaN stays NaN
        store(h + i, a);
    }
}

template <class Real>
void relu_forward(Real* h, const Real* x, size_t n) {
    launch_entries<Real>(relu_forward_kernel<Real, wide<Real>>, relu_forward_kernel<Real, 1>, n, h,
                         x, n);
}

//   numbers moved an entry: 3
template <class Real, int W>
__global__ void relu_backward_kernel(Real* dx, const Real* dh, const Real* x, size_t n) {
    for (size_t i = first_entry<W>(); i < n; i += entry_stride<W>()) {
        const auto a = load<W>(x + i);
        auto d = load<W>(dh + i);
        for (int k = 0; k < W; k++)
            if (!(a[k] > 0)) d[k] = 0;
        store(dx + i, d);
    }
}

template <class Real>
void relu_backward(Real* dx, const Real* dh, const Real* x, size_t n) {
    launch_entries<Real>(relu_backward_kernel<Real, wide<Real>>, relu_backward_kernel<Real, 1>, n,
                         dx, dh, x, n);
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
