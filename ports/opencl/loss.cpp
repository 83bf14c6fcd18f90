#include <algorithm>
#include <type_traits>

#include "device.h"
#include "help/opencl.h"
#include "help/product.h"
#include "kernels.h"

EMBED(opencl_loss, "loss.cl");

namespace peri {

using namespace opencl;

namespace {

const File file = {"loss", opencl_loss_begin, opencl_loss_end};

constexpr size_t logits_bytes = size_t(64) << 20;

// Rows handled at once: as many as the logits' bytes hold.
template <class Real>
int rows_at_once(int R, int V) {
    const size_t rows = logits_bytes / (size_t(V) * sizeof(Accum<Real>));
    return static_cast<int>(std::clamp<size_t>(rows, 1, R));
}

// The workspace's parts. Logits are kept as they were summed; their gradients, which products read, as Real: in the
// same place where that is the same type.
template <class Real>
struct Parts {
    void* scratch;          // of the products
    Accum<Real>* row_loss;  // (R)
    Accum<Real>* logits;    // (rows at once, V)
    Real* d_logits;         // (rows at once, V)
    size_t bytes;

    Parts(void* memory, int R, int V) {
        Slicer slice(memory);
        const size_t numbers = rows_at_once<Real>(R, V) * size_t(V);
        scratch = slice.take<char>(linear_workspace<Real>());
        row_loss = slice.take<Accum<Real>>(R);
        logits = slice.take<Accum<Real>>(numbers);
        if constexpr (std::is_same_v<Real, Accum<Real>>)
            d_logits = logits;
        else
            d_logits = slice.take<Real>(numbers);
        bytes = slice.used();
    }
};

// *loss += sum_r row_loss[r] / divisor, in the host's double, since a device may have none
template <class Real>
void add_loss(double* loss, const Accum<Real>* row_loss, int R, double divisor) {
    double sum = 0, before = 0;
    for (const double l : download_as_double<Real>(row_loss, R)) sum += l;
    device_download<Real>(&before, loss, sizeof before);
    const double after = before + sum / divisor;
    device_upload<Real>(loss, &after, sizeof after);
}

}  // namespace

template <class Real>
size_t head_loss_workspace(int R, int V) {
    return Parts<Real>(nullptr, R, V).bytes;
}

// With z = x w^T and p = softmax(z): dL/dz = p - onehot(target) (Eq. 13), d(log Z)^2/dz = 2 log Z p,
// then a linear layer's backward. A chunk of rows at a time.
template <class Real>
void head_loss(double* loss, Real* dx, Accum<Real>* dw, const Real* x, const Real* w,
               const int* targets, const LossScale* loss_scale, int R, int C, int V, double divisor,
               double z_loss) {
    const Parts<Real> p(workspace<Real>(head_loss_workspace<Real>(R, V)), R, V);
    const int chunk = rows_at_once<Real>(R, V);
    for (int start = 0; start < R; start += chunk) {
        const int rows = std::min(chunk, R - start);
        const Real* const x_chunk = x + size_t(start) * C;
        product(p.logits, x_chunk, Op::none, w, Op::transpose, rows, V, C, false, p.scratch);
        launch<Real>(file, "softmax_cross_entropy", rows, p.row_loss + start, p.d_logits, p.logits,
                     targets + start, loss_scale, V, static_cast<float>(1 / divisor),
                     static_cast<float>(z_loss));
        if (dx)
            product(dx + size_t(start) * C, p.d_logits, Op::none, w, Op::none, rows, C, V, false,
                    p.scratch);
        if (dw)
            product(dw, p.d_logits, Op::transpose, x_chunk, Op::none, V, C, rows, true, p.scratch);
    }
    add_loss<Real>(loss, p.row_loss, R, divisor);
}

template <class Real>
void head_loss_tune(int, int, int) {}

#define INSTANTIATE(Real)                                                                       \
    template void head_loss(double*, Real*, Accum<Real>*, const Real*, const Real*, const int*, \
                            const LossScale*, int, int, int, double, double);                   \
    template size_t head_loss_workspace<Real>(int, int);                                        \
    template void head_loss_tune<Real>(int, int, int);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
