#include <cmath>
#include <vector>

#include "device.h"
#include "help/opencl.h"
#include "kernels.h"

EMBED(opencl_rope, "rope.cl");

namespace peri {

using namespace opencl;

namespace {
const File file = {"rope", opencl_rope_begin, opencl_rope_end};
}

// Once a model, by the host: its angles need double, which a device may lack.
template <class Real>
void rope_table(Accum<Real>* table, int T, int D, double base) {
    const int half = D / 2;
    std::vector<Accum<Real>> values(size_t(T) * D);
    for (int t = 0; t < T; t++)
        for (int i = 0; i < half; i++) {
            const double theta = t * std::pow(base, -2.0 * i / D);
            values[size_t(t) * D + i] = static_cast<Accum<Real>>(std::cos(theta));
            values[size_t(t) * D + half + i] = static_cast<Accum<Real>>(std::sin(theta));
        }
    device_upload<Real>(table, values.data(), values.size() * sizeof(Accum<Real>));
}

namespace {

template <class Real>
void rotate(Real* y, const Real* x, const Accum<Real>* table, int B, int T, int H, int D, int first,
            Accum<Real> sign) {
    if (D < 2) return;  // no pair to turn
    launch<Real>(file, "rotate_pairs", size_t(B) * T, y, x, table, T, H, D, first, sign);
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
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
