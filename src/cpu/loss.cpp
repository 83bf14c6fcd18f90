#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/math.h"
#include "cpu/product.h"
#include "device.h"
#include "kernels.h"

namespace peri {

namespace {

constexpr size_t logits_bytes = size_t(64) << 20;

// Rows handled at once: as many as 64 MiB of logits hold, so that a vocabulary of 100,000 never
// needs R V numbers.
template <class T>
int rows_at_once(int R, int V) {
    const size_t rows = logits_bytes / (size_t(V) * sizeof(T));
    return static_cast<int>(std::clamp<size_t>(rows, 1, R));
}

// A row of logits z becomes (p - onehot(label)) scale in place; returns the row's loss,
//   -log p[label] = log sum_v exp(z_v - max) + max - z_label
template <class T>
double softmax_cross_entropy_row(T* z, int label, int V, Accum<T> scale) {
    using A = Accum<T>;
    if (label < 0) {
        std::fill(z, z + V, T(0));
        return 0;
    }
    A most = z[0];
#pragma omp simd reduction(max : most)
    for (int v = 0; v < V; v++) most = z[v] > most ? A(z[v]) : most;
    const A at_label = z[label];
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int v = 0; v < V; v++) {
        const A e = exp_of(z[v] - most);
        z[v] = e;
        sum += e;
    }
    const A factor = scale / sum;
#pragma omp simd
    for (int v = 0; v < V; v++) z[v] *= factor;
    z[label] -= scale;
    return std::log(double(sum)) + double(most - at_label);
}

}  // namespace

template <class T>
size_t head_loss_workspace(int R, int V) {
    return R * sizeof(double) + rows_at_once<T>(R, V) * size_t(V) * sizeof(T);
}

// With z = x w^T and p = softmax(z): dL/dz = p - onehot(label) (Eq. 13), then a linear layer's
// backward. A chunk of rows at a time, its logits turned into their gradient in place.
template <class T>
void head_loss(double* loss, T* dx, Accum<T>* dw, const T* x, const T* w, const int* labels, int R,
               int C, int V, double divisor) {
    double* const row_loss = static_cast<double*>(workspace<T>(head_loss_workspace<T>(R, V)));
    T* const logits = reinterpret_cast<T*>(row_loss + R);
    const int chunk = rows_at_once<T>(R, V);
    for (int start = 0; start < R; start += chunk) {
        const int rows = std::min(chunk, R - start);
        const T* const x_chunk = x + size_t(start) * C;
        product(logits, x_chunk, Op::none, w, Op::transpose, rows, V, C, false);
#pragma omp parallel for schedule(static)
        for (int r = 0; r < rows; r++)
            row_loss[start + r] = softmax_cross_entropy_row(
                logits + size_t(r) * V, labels[start + r], V, static_cast<Accum<T>>(1 / divisor));
        if (dx) product(dx + size_t(start) * C, logits, Op::none, w, Op::none, rows, C, V, false);
        if (dw) product(dw, logits, Op::transpose, x_chunk, Op::none, V, C, rows, true);
    }
    double sum = 0;
    for (int r = 0; r < R; r++) sum += row_loss[r];
    *loss += sum / divisor;
}

template <class T>
void head_loss_tune(int R, int C, int V) {
    linear_tune<T>(rows_at_once<T>(R, V), C, V);
}

#define INSTANTIATE(T)                                                                             \
    template void head_loss(double*, T*, Accum<T>*, const T*, const T*, const int*, int, int, int, \
                            double);                                                               \
    template size_t head_loss_workspace<T>(int, int);                                              \
    template void head_loss_tune<T>(int, int, int);
INSTANTIATE(double)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace peri
