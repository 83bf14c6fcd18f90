#include "kernels.h"
#include "parallel.h"

namespace peri {

template <class A>
__global__ void rope_table_kernel(A* table, int T_, int D, double base) {
    const int half = D / 2;
    for (size_t n = first_entry(); n < size_t(T_) * half; n += entry_stride()) {
        const size_t t = n / half, i = n % half;
        const double theta = t * pow(base, -2.0 * i / D);
        table[t * D + i] = static_cast<A>(cos(theta));
        table[t * D + half + i] = static_cast<A>(sin(theta));
    }
}

template <class T>
void rope_table(Accum<T>* table, int T_, int D, double base) {
    if (D < 2) return;  // no pair to turn
    launch(rope_table_kernel<Accum<T>>, blocks_for(size_t(T_) * D / 2), block_size, 0, table, T_, D,
           base);
}

// y[i] = x[i] cos - sign x[i+D/2] sin,   y[i+D/2] = x[i+D/2] cos + sign x[i] sin
template <class T>
__global__ void rotate_kernel(T* y, const T* x, const Accum<T>* table, int B, int T_, int H, int D,
                              int first, Accum<T> sign) {
    const int half = D / 2;
    for (size_t n = first_entry(); n < size_t(B) * T_ * H * half; n += entry_stride()) {
        const size_t i = n % half, head = n / half, t = head / H % T_;
        const Accum<T>* const cosine = table + (first + t) * D;
        const T* const in = x + head * D;
        T* const out = y + head * D;
        const Accum<T> a = in[i], b = in[half + i], s = sign * cosine[half + i];
        out[i] = a * cosine[i] - b * s;
        out[half + i] = b * cosine[i] + a * s;
    }
}

template <class T>
void rotate(T* y, const T* x, const Accum<T>* table, int B, int T_, int H, int D, int first,
            Accum<T> sign) {
    if (D < 2) return;
    launch(rotate_kernel<T>, blocks_for(size_t(B) * T_ * H * D / 2), block_size, 0, y, x, table, B,
           T_, H, D, first, sign);
}

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
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
