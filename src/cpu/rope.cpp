#include <cmath>

#include "kernels.h"

namespace peri {

template <class Real>
void rope_table(Accum<Real>* table, int T, int D, double base) {
    const int half = D / 2;
    for (int t = 0; t < T; t++)
        for (int i = 0; i < half; i++) {
            const double theta = t * std::pow(base, -2.0 * i / D);
            table[size_t(t) * D + i] = static_cast<Accum<Real>>(std::cos(theta));
            table[size_t(t) * D + half + i] = static_cast<Accum<Real>>(std::sin(theta));
        }
}

namespace {

// y[i] = x[i] cos - sign x[i+D/2] sin,   y[i+D/2] = x[i+D/2] cos + sign x[i] sin
template <class Real>
void rotate(Real* y, const Real* x, const Accum<Real>* table, int B, int T, int H, int D, int first,
            Accum<Real> sign) {
    const int half = D / 2;
#pragma omp parallel for schedule(static)
    for (int row = 0; row < B * T; row++) {
        const Accum<Real>* const cosine = table + size_t(first + row % T) * D;
        const Accum<Real>* const sine = cosine + half;
        for (int h = 0; h < H; h++) {
            const Real* const in = x + (size_t(row) * H + h) * D;
            Real* const out = y + (size_t(row) * H + h) * D;
#pragma omp simd
            for (int i = 0; i < half; i++) {
                const Accum<Real> a = in[i], b = in[half + i], s = sign * sine[i];
                out[i] = a * cosine[i] - b * s;
                out[half + i] = b * cosine[i] + a * s;
            }
        }
    }
}

}  // namespace

template <class Real>
void rope_forward(Real* y, const Real* x, const Accum<Real>* table, int B, int T, int H, int D,
                  int first) {
    rotate<Real>(y, x, table, B, T, H, D, first, 1);
}

// A rotation's inverse is its transpose, and backward multiplies by the transpose: the angle,
// negated.
template <class Real>
void rope_backward(Real* dx, const Real* dy, const Accum<Real>* table, int B, int T, int H, int D,
                   int first) {
    rotate<Real>(dx, dy, table, B, T, H, D, first, -1);
}

#define INSTANTIATE(Real)                                                                        \
    template void rope_table<Real>(Accum<Real>*, int, int, double);                              \
    template void rope_forward(Real*, const Real*, const Accum<Real>*, int, int, int, int, int); \
    template void rope_backward(Real*, const Real*, const Accum<Real>*, int, int, int, int, int);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#endif
#undef INSTANTIATE

}  // namespace peri
