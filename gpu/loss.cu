#include <algorithm>
#include <type_traits>

#include "device.h"
#include "kernels.h"
#include "matmul.h"
#include "parallel.h"

namespace peri {

constexpr size_t logits_bytes = size_t(64) << 20;

// Rows handled at once: as many as 64 MiB of logits hold.
template <class Real>
int rows_at_once(int R, int V) {
    const size_t rows = logits_bytes / (size_t(V) * sizeof(Accum<Real>));
    return static_cast<int>(std::clamp<size_t>(rows, 1, R));
}

// The workspace's parts. Logits are kept as they were summed; their gradients, which products read,
// as Real: in the same place where that is the same type.
template <class Real>
struct Parts {
    void* scratch;        // of the products
    double* row_loss;     // (R)
    Accum<Real>* logits;  // (rows at once, V)
    Real* d_logits;       // (rows at once, V)
    size_t bytes;

    Parts(void* memory, int R, int V) {
        Slicer slice(memory);
        const size_t numbers = rows_at_once<Real>(R, V) * size_t(V);
        scratch = slice.take<char>(linear_workspace<Real>());
        row_loss = slice.take<double>(R);
        logits = slice.take<Accum<Real>>(numbers);
        if constexpr (std::is_same_v<Real, Accum<Real>>)
            d_logits = logits;
        else
            d_logits = slice.take<Real>(numbers);
        bytes = slice.used();
    }
};

// Of a row of logits z, which is lost; dz may lie where z does:
//   dz = (p_factor p - onehot(target)) scale,   p_factor = 1 + 2 z_loss log Z
// The row's loss is
//   -log p[target] = log Z - z_target,   log Z = log sum_v exp(z_v - max) + max
// A block takes a row.
template <class Real>
__global__ void softmax_cross_entropy_kernel(double* row_loss, Real* dz, Accum<Real>* z,
                                             const int* targets, int V, Accum<Real> scale,
                                             Accum<Real> z_loss) {
    DYNAMIC_SHARED(Accum<Real>, shared);
    const size_t r = blockIdx.x;
    const int target = targets[r];
    z += r * V;
    dz += r * V;
    if (target < 0) {  // the whole block
        for (int v = threadIdx.x; v < V; v += block_size) dz[v] = Real(0);
        if (threadIdx.x == 0) row_loss[r] = 0;
        return;
    }
    Accum<Real> most = z[0];
    for (int v = threadIdx.x; v < V; v += block_size) most = z[v] > most ? z[v] : most;
    most = block_max(most, shared);
    const Accum<Real> at_target = z[target];
    Accum<Real> sum = 0;
    for (int v = threadIdx.x; v < V; v += block_size) sum += exp(z[v] - most);
    sum =
        block_sum(sum, shared);  // its barriers also stand between at_target and dz, which may be z
    const Accum<Real> p_factor = 1 + 2 * z_loss * (log(sum) + most);
    for (int v = threadIdx.x; v < V; v += block_size) {
        const Accum<Real> p = exp(z[v] - most) / sum;
        dz[v] = (p_factor * p - (v == target ? 1 : 0)) * scale;
    }
    if (threadIdx.x == 0) row_loss[r] = log(double(sum)) + double(most - at_target);
}

// *loss += sum_r row_loss[r] / divisor; one block
__global__ void add_loss_kernel(double* loss, const double* row_loss, int R, double divisor) {
    DYNAMIC_SHARED(double, shared);
    double sum = 0;
    for (int r = threadIdx.x; r < R; r += block_size) sum += row_loss[r];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) *loss += sum / divisor;
}

template <class Real>
size_t head_loss_workspace(int R, int V) {
    return Parts<Real>(nullptr, R, V).bytes;
}

// With z = x w^T and p = softmax(z): dL/dz = p - onehot(target) (Eq. 13), d(log Z)^2/dz = 2 log Z p,
// then a linear layer's backward. A chunk of rows at a time.
template <class Real>
void head_loss(double* loss, Real* dx, Accum<Real>* dw, const Real* x, const Real* w,
               const int* targets, int R, int C, int V, double divisor, double z_loss) {
    const Parts<Real> p(workspace<Real>(head_loss_workspace<Real>(R, V)), R, V);
    const int chunk = rows_at_once<Real>(R, V);
    const size_t shared = warps_in_block * sizeof(double);
    for (int start = 0; start < R; start += chunk) {
        const int rows = std::min(chunk, R - start);
        const Real* const x_chunk = x + size_t(start) * C;
        matmul(p.logits, x_chunk, Op::none, w, Op::transpose, rows, V, C, false, p.scratch);
        launch(softmax_cross_entropy_kernel<Real>, dim3(static_cast<unsigned>(rows)), block_size,
               shared, p.row_loss + start, p.d_logits, p.logits, targets + start, V,
               static_cast<Accum<Real>>(1 / divisor), static_cast<Accum<Real>>(z_loss));
        if (dx)
            matmul(dx + size_t(start) * C, p.d_logits, Op::none, w, Op::none, rows, C, V, false,
                   p.scratch);
        if (dw)
            matmul(dw, p.d_logits, Op::transpose, x_chunk, Op::none, V, C, rows, true, p.scratch);
    }
    launch(add_loss_kernel, dim3(1), block_size, shared, loss, p.row_loss, R, divisor);
}

template <class Real>
void head_loss_tune(int, int, int) {}  // cuBLASLt chooses by shape

#define INSTANTIATE(Real)                                                                       \
    template void head_loss(double*, Real*, Accum<Real>*, const Real*, const Real*, const int*, \
                            int, int, int, double, double);                                     \
    template size_t head_loss_workspace<Real>(int, int);                                        \
    template void head_loss_tune<Real>(int, int, int);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
