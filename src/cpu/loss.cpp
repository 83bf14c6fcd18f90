#include <algorithm>
#include <cmath>
#include <type_traits>

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
// Returns the row's loss,
//   -log p[label] = log Z - z_label,   log Z = log sum_v exp(z_v - max) + max
template <class T>
double softmax_cross_entropy_row(T* dz, Accum<T>* z, int label, int V, Accum<T> scale,
                                 Accum<T> z_loss) {
    using A = Accum<T>;
    if (label < 0) {
        std::fill(dz, dz + V, T(0));
        return 0;
    }
    A most = z[0];
#pragma omp simd reduction(max : most)
    for (int v = 0; v < V; v++) most = z[v] > most ? z[v] : most;
    const A at_label = z[label];
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int v = 0; v < V; v++) {
        const A e = exp_of(z[v] - most);
        z[v] = e;
        sum += e;
    }
    const A p_factor = 1 + 2 * z_loss * (std::log(sum) + most);
    const A factor = p_factor * scale / sum;
    const A d_label = z[label] * factor - scale;
#pragma omp simd
    for (int v = 0; v < V; v++) dz[v] = z[v] * factor;
    dz[label] = d_label;
    return std::log(double(sum)) + double(most - at_label);
}

}  // namespace

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
    for (int start = 0; start < R; start += chunk) {
        const int rows = std::min(chunk, R - start);
        const T* const x_chunk = x + size_t(start) * C;
        product(p.logits, x_chunk, Op::none, w, Op::transpose, rows, V, C, false, p.scratch);
#pragma omp parallel for schedule(static)
        for (int r = 0; r < rows; r++)
            p.row_loss[start + r] = softmax_cross_entropy_row<T>(
                p.d_logits + size_t(r) * V, p.logits + size_t(r) * V, labels[start + r], V,
                static_cast<Accum<T>>(1 / divisor), static_cast<Accum<T>>(z_loss));
        if (dx)
            product(dx + size_t(start) * C, p.d_logits, Op::none, w, Op::none, rows, C, V, false,
                    p.scratch);
        if (dw)
            product(dw, p.d_logits, Op::transpose, x_chunk, Op::none, V, C, rows, true, p.scratch);
    }
    double sum = 0;
    for (int r = 0; r < R; r++) sum += p.row_loss[r];
    *loss += sum / divisor;
}

template <class T>
void head_loss_tune(int R, int C, int V) {
    const int rows = rows_at_once<T>(R, V);
    tune_product<Accum<T>, T>(Op::none, Op::transpose, rows, V, C, false);
    tune_product<T, T>(Op::none, Op::none, rows, C, V, false);
    tune_product<Accum<T>, T>(Op::transpose, Op::none, V, C, rows, true);
}

#define INSTANTIATE(T)                                                                             \
    template void head_loss(double*, T*, Accum<T>*, const T*, const T*, const int*, int, int, int, \
                            double, double);                                                       \
    template size_t head_loss_workspace<T>(int, int);                                              \
    template void head_loss_tune<T>(int, int, int);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
#endif
#undef INSTANTIATE

}  // namespace peri
