#include "kernels.h"
#include "parallel.h"

namespace peri {

template <class A>
__global__ void rope_table_kernel(A* table, int T, int D, double base) {
    const int half = D / 2;
    for (size_t n = first_entry(); n < size_t(T) * half; n += entry_stride()) {
        const size_t t = n / half, i = n % half;
        const double theta = t * pow(base, -2.0 * i / D);
        table[t * D + i] = static_cast<A>(cos(theta));
        table[t * D + half + i] = static_cast<A>(sin(theta));
    }
}

template <class Real>
void rope_table(Accum<Real>* table, int T, int D, double base) {
    if (D < 2) return;  // no pair to turn
    launch(rope_table_kernel<Accum<Real>>, blocks_for(size_t(T) * D / 2), block_size, 0, table, T,
           D, base);
}

// y[i] = x[i] cos - sign x[i+D/2] sin,   y[i+D/2] = x[i+D/2] cos + sign x[i] sin
template <class Real>
__global__ void rotate_kernel(Real* y, const Real* x, const Accum<Real>* table, int B, int T, int H,
                              int D, int first, Accum<Real> sign) {
    const int half = D / 2;
    for (size_t n = first_entry(); n < size_t(B) * T * H * half; n += entry_stride()) {
        const size_t i = n % half, head = n / half, t = head / H % T;
        const Accum<Real>* const cosine = table + (first + t) * D;
        const Real* const in = x + head * D;
        Real* const out = y + head * D;
        const Accum<Real> a = in[i], b = in[half + i], s = sign * cosine[half + i];
        out[i] = a * cosine[i] - b * s;
        out[half + i] = b * cosine[i] + a * s;
    }
}

template <class Real>
void rotate(Real* y, const Real* x, const Accum<Real>* table, int B, int T, int H, int D, int first,
            Accum<Real> sign) {
    if (D < 2) return;
    launch(rotate_kernel<Real>, blocks_for(size_t(B) * T * H * D / 2), block_size, 0, y, x, table,
           B, T, H, D, first, sign);
}

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
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
