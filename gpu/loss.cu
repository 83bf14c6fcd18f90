#include <algorithm>
#include <type_traits>

#include "device.h"
#include "kernels.h"
#include "parallel.h"
#include "product.h"

namespace peri {

constexpr size_t logits_bytes = size_t(64) << 20;

// Rows handled at once: as many as 64 MiB of logits hold.
template <class T>
int rows_at_once(int R, int V) {
    const size_t rows = logits_bytes / (size_t(V) * sizeof(Accum<T>));
    return static_cast<int>(std::clamp<size_t>(rows, 1, R));
}

// The workspace's parts. Logits are kept as they were summed; their gradients, which products read,
// as T: in the same place where that is the same type.
template <class T>
struct Parts {
    void* scratch;     // of the products
    double* row_loss;  // (R)
    Accum<T>* logits;  // (rows at once, V)
    T* d_logits;       // (rows at once, V)
    size_t bytes;

    Parts(void* memory, int R, int V) {
        Slicer slice(memory);
        const size_t numbers = rows_at_once<T>(R, V) * size_t(V);
        scratch = slice.take<char>(linear_workspace<T>());
        row_loss = slice.take<double>(R);
        logits = slice.take<Accum<T>>(numbers);
        if constexpr (std::is_same_v<T, Accum<T>>)
            d_logits = logits;
        else
            d_logits = slice.take<T>(numbers);
        bytes = slice.used();
    }
};

// Of a row of logits z, which is lost; dz may lie where z does:
//   dz = (p_factor p - onehot(label)) scale,   p_factor = 1 + 2 z_loss log Z
// The row's loss is
//   -log p[label] = log Z - z_label,   log Z = log sum_v exp(z_v - max) + max
// A block takes a row.
template <class T>
__global__ void softmax_cross_entropy_kernel(double* row_loss, T* dz, Accum<T>* z,
                                             const int* labels, int V, Accum<T> scale,
                                             Accum<T> z_loss) {
    DYNAMIC_SHARED(Accum<T>, shared);
    const size_t r = blockIdx.x;
    const int label = labels[r];
    z += r * V;
    dz += r * V;
    if (label < 0) {  // the whole block
        for (int v = threadIdx.x; v < V; v += block_size) dz[v] = T(0);
        if (threadIdx.x == 0) row_loss[r] = 0;
        return;
    }
    Accum<T> most = z[0];
    for (int v = threadIdx.x; v < V; v += block_size) most = z[v] > most ? z[v] : most;
    most = block_max(most, shared);
    const Accum<T> at_label = z[label];
    Accum<T> sum = 0;
    for (int v = threadIdx.x; v < V; v += block_size) sum += exp(z[v] - most);
    sum =
        block_sum(sum, shared);  // its barriers also stand between at_label and dz, which may be z
    const Accum<T> p_factor = 1 + 2 * z_loss * (log(sum) + most);
    for (int v = threadIdx.x; v < V; v += block_size) {
        const Accum<T> p = exp(z[v] - most) / sum;
        dz[v] = (p_factor * p - (v == label ? 1 : 0)) * scale;
    }
    if (threadIdx.x == 0) row_loss[r] = log(double(sum)) + double(most - at_label);
}

// *loss += sum_r row_loss[r] / divisor; one block
__global__ void add_loss_kernel(double* loss, const double* row_loss, int R, double divisor) {
    DYNAMIC_SHARED(double, shared);
    double sum = 0;
    for (int r = threadIdx.x; r < R; r += block_size) sum += row_loss[r];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) *loss += sum / divisor;
}

template <class T>
size_t head_loss_workspace(int R, int V) {
    return Parts<T>(nullptr, R, V).bytes;
}

// With z = x w^T and p = softmax(z): dL/dz = p - onehot(label) (Eq. 13), d(log Z)^2/dz = 2 log Z p,
// then a linear layer's backward. A chunk of rows at a time.
template <class T>
void head_loss(double* loss, T* dx, Accum<T>* dw, const T* x, const T* w, const int* labels, int R,
               int C, int V, double divisor, double z_loss) {
    const Parts<T> p(workspace<T>(head_loss_workspace<T>(R, V)), R, V);
    const int chunk = rows_at_once<T>(R, V);
    const size_t shared = warps_in_block * sizeof(double);
    for (int start = 0; start < R; start += chunk) {
        const int rows = std::min(chunk, R - start);
        const T* const x_chunk = x + size_t(start) * C;
        product(p.logits, x_chunk, Op::none, w, Op::transpose, rows, V, C, false, p.scratch);
        launch(softmax_cross_entropy_kernel<T>, dim3(static_cast<unsigned>(rows)), block_size,
               shared, p.row_loss + start, p.d_logits, p.logits, labels + start, V,
               static_cast<Accum<T>>(1 / divisor), static_cast<Accum<T>>(z_loss));
        if (dx)
            product(dx + size_t(start) * C, p.d_logits, Op::none, w, Op::none, rows, C, V, false,
                    p.scratch);
        if (dw)
            product(dw, p.d_logits, Op::transpose, x_chunk, Op::none, V, C, rows, true, p.scratch);
    }
    launch(add_loss_kernel, dim3(1), block_size, shared, loss, p.row_loss, R, divisor);
}

template <class T>
void head_loss_tune(int, int, int) {}  // cuBLASLt chooses by shape

#define INSTANTIATE(T)                                                                             \
    template void head_loss(double*, T*, Accum<T>*, const T*, const T*, const int*, int, int, int, \
                            double, double);                                                       \
    template size_t head_loss_workspace<T>(int, int);                                              \
    template void head_loss_tune<T>(int, int, int);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
