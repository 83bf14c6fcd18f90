#include "cpu/math.h"
#include "kernels.h"

namespace peri {

// h = silu(gate) up,   silu(g) = g sigma(g),   sigma(g) = 1 / (1 + exp(-g))
template <class T>
void swiglu_forward(T* h, const T* gate, const T* up, size_t n) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        const Accum<T> g = gate[i];
        h[i] = g * sigmoid(g) * up[i];
    }
}

// dup = dh silu(g),   dgate = dh up silu'(g),   silu'(g) = sigma(g) (1 + g (1 - sigma(g)))
template <class T>
void swiglu_backward(T* dgate, T* dup, const T* dh, const T* gate, const T* up, size_t n) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        const Accum<T> g = gate[i], u = up[i], d = dh[i], s = sigmoid(g);
        dgate[i] = d * u * s * (1 + g * (1 - s));
        dup[i] = d * g * s;
    }
}

template <class T>
void relu_forward(T* h, const T* x, size_t n) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) h[i] = x[i] < 0 ? T(0) : x[i];  // so that NaN stays NaN
}

template <class T>
void relu_backward(T* dx, const T* dh, const T* x, size_t n) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) dx[i] = x[i] > 0 ? dh[i] : T(0);
}

#define INSTANTIATE(T)                                                           \
    template void swiglu_forward(T*, const T*, const T*, size_t);                \
    template void swiglu_backward(T*, T*, const T*, const T*, const T*, size_t); \
    template void relu_forward(T*, const T*, size_t);                            \
    template void relu_backward(T*, const T*, const T*, size_t);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
#endif
#undef INSTANTIATE

}  // namespace peri
