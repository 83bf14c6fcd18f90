#include <cmath>

#include "kernels.h"

namespace peri {

template <class T>
void rope_table(Accum<T>* table, int T_, int D, double base) {
    const int half = D / 2;
    for (int t = 0; t < T_; t++)
        for (int i = 0; i < half; i++) {
            const double theta = t * std::pow(base, -2.0 * i / D);
            table[size_t(t) * D + i] = static_cast<Accum<T>>(std::cos(theta));
            table[size_t(t) * D + half + i] = static_cast<Accum<T>>(std::sin(theta));
        }
}

namespace {

// y[i] = x[i] cos - sign x[i+D/2] sin,   y[i+D/2] = x[i+D/2] cos + sign x[i] sin
template <class T>
void rotate(T* y, const T* x, const Accum<T>* table, int B, int T_, int H, int D, int first,
            Accum<T> sign) {
    const int half = D / 2;
#pragma omp parallel for schedule(static)
    for (int row = 0; row < B * T_; row++) {
        const Accum<T>* const cosine = table + size_t(first + row % T_) * D;
        const Accum<T>* const sine = cosine + half;
        for (int h = 0; h < H; h++) {
            const T* const in = x + (size_t(row) * H + h) * D;
            T* const out = y + (size_t(row) * H + h) * D;
#pragma omp simd
            for (int i = 0; i < half; i++) {
                const Accum<T> a = in[i], b = in[half + i], s = sign * sine[i];
                out[i] = a * cosine[i] - b * s;
                out[half + i] = b * cosine[i] + a * s;
            }
        }
    }
}

}  // namespace

template <class T>
void rope_forward(T* y, const T* x, const Accum<T>* table, int B, int T_, int H, int D, int first) {
    rotate<T>(y, x, table, B, T_, H, D, first, 1);
}

// A rotation's inverse is its transpose, and backward multiplies by the transpose: the angle,
// negated.
template <class T>
void rope_backward(T* dx, const T* dy, const Accum<T>* table, int B, int T_, int H, int D,
                   int first) {
    rotate<T>(dx, dy, table, B, T_, H, D, first, -1);
}

#define INSTANTIATE(T)                                                                  \
    template void rope_table<T>(Accum<T>*, int, int, double);                           \
    template void rope_forward(T*, const T*, const Accum<T>*, int, int, int, int, int); \
    template void rope_backward(T*, const T*, const Accum<T>*, int, int, int, int, int);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
#endif
#undef INSTANTIATE

}  // namespace peri
