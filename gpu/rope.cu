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
// A block takes a token, a thread W pairs of a head at a time.
//   numbers moved an entry: 2
template <class Real, int W>
__global__ void rotate_kernel(Real* y, const Real* x, const Accum<Real>* table, int T, int H, int D,
                              int first, Accum<Real> sign) {
    const int half = D / 2, packs = half / W;
    const int t = static_cast<int>(blockIdx.x % T);
    const Accum<Real>* const cosine = table + size_t(first + t) * D;
    const Accum<Real>* const sine = cosine + half;
    for (int n = threadIdx.x; n < H * packs; n += blockDim.x) {
        const int i = n % packs * W;
        const size_t at = (size_t(blockIdx.x) * H + n / packs) * D + i;
        const auto a = load<W>(x + at), b = load<W>(x + at + half);
        const auto c = load<W>(cosine + i), s = load<W>(sine + i);
        Pack<Real, W> low, high;
        for (int k = 0; k < W; k++) {
            low[k] = a[k] * c[k] - b[k] * (sign * s[k]);
            high[k] = b[k] * c[k] + a[k] * (sign * s[k]);
        }
        store(y + at, low);
        store(y + at + half, high);
    }
}

template <class Real>
void rotate(Real* y, const Real* x, const Accum<Real>* table, int B, int T, int H, int D, int first,
            Accum<Real> sign) {
    if (D < 2) return;
    const bool packed = D / 2 % wide<Real> == 0 && begins_wide(y) && begins_wide(x);
    const int pairs = H * (D / 2) / (packed ? wide<Real> : 1);
    const int threads = std::min(block_size, (pairs + warp_size - 1) / warp_size * warp_size);
    launch(packed ? rotate_kernel<Real, wide<Real>> : rotate_kernel<Real, 1>,
           dim3(static_cast<unsigned>(B * T)), threads, 0, y, x, table, T, H, D, first, sign);
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
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
