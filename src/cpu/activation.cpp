#include "cpu/math.h"
#include "kernels.h"

namespace peri {

// h = silu(gate) up,   silu(g) = g sigma(g),   sigma(g) = 1 / (1 + exp(-g))
template <class Real>
void swiglu_forward(Real* h, const Real* gate, const Real* up, size_t n) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        const Accum<Real> g = gate[i];
        h[i] = g * sigmoid(g) * up[i];
    }
}

// dup = dh silu(g),   dgate = dh up silu'(g),   silu'(g) = sigma(g) (1 + g (1 - sigma(g)))
template <class Real>
void swiglu_backward(Real* dgate, Real* dup, const Real* dh, const Real* gate, const Real* up,
                     size_t n) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        const Accum<Real> g = gate[i], u = up[i], d = dh[i], s = sigmoid(g);
        dgate[i] = d * u * s * (1 + g * (1 - s));
        dup[i] = d * g * s;
    }
}

template <class Real>
void relu_forward(Real* h, const Real* x, size_t n) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) h[i] = x[i] < 0 ? Real(0) : x[i];  // so that NaN stays NaN
}

template <class Real>
void relu_backward(Real* dx, const Real* dh, const Real* x, size_t n) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) dx[i] = x[i] > 0 ? dh[i] : Real(0);
}

#define INSTANTIATE(Real)                                                                       \
    template void swiglu_forward(Real*, const Real*, const Real*, size_t);                      \
    template void swiglu_backward(Real*, Real*, const Real*, const Real*, const Real*, size_t); \
    template void relu_forward(Real*, const Real*, size_t);                                     \
    template void relu_backward(Real*, const Real*, const Real*, size_t);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#endif
#undef INSTANTIATE

}  // namespace peri
