#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cpu/math.h"
#include "cpu/matmul.h"
#include "device.h"
#include "kernels.h"

namespace peri {

namespace {

constexpr size_t logits_bytes = size_t(64) << 20;

// Rows handled at once: as many as 64 MiB of logits hold, so that a vocabulary of 100,000 never
// needs R V numbers.
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
// Returns the row's loss,
//   -log p[target] = log Z - z_target,   log Z = log sum_v exp(z_v - max) + max
template <class Real>
double softmax_cross_entropy_row(Real* dz, Accum<Real>* z, int target, int V, Accum<Real> scale,
                                 Accum<Real> z_loss) {
    using A = Accum<Real>;
    if (target < 0) {
        std::fill(dz, dz + V, Real(0));
        return 0;
    }
    A most = z[0];
#pragma omp simd reduction(max : most)
    for (int v = 0; v < V; v++) most = z[v] > most ? z[v] : most;
    const A at_target = z[target];
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int v = 0; v < V; v++) {
        const A e = exp_of(z[v] - most);
        z[v] = e;
        sum += e;
    }
    const A p_factor = 1 + 2 * z_loss * (std::log(sum) + most);
    const A factor = p_factor * scale / sum;
    const A d_target = z[target] * factor - scale;
#pragma omp simd
    for (int v = 0; v < V; v++) dz[v] = z[v] * factor;
    dz[target] = d_target;
    return std::log(double(sum)) + double(most - at_target);
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
    const double scale = loss_scale ? loss_scale->scale : 1;
    const Parts<Real> p(workspace<Real>(head_loss_workspace<Real>(R, V)), R, V);
    const int chunk = rows_at_once<Real>(R, V);
    for (int start = 0; start < R; start += chunk) {
        const int rows = std::min(chunk, R - start);
        const Real* const x_chunk = x + size_t(start) * C;
        matmul(p.logits, x_chunk, Op::none, w, Op::transpose, rows, V, C, false, p.scratch);
#pragma omp parallel for schedule(static)
        for (int r = 0; r < rows; r++)
            p.row_loss[start + r] = softmax_cross_entropy_row<Real>(
                p.d_logits + size_t(r) * V, p.logits + size_t(r) * V, targets[start + r], V,
                static_cast<Accum<Real>>(scale / divisor), static_cast<Accum<Real>>(z_loss));
        if (dx)
            matmul(dx + size_t(start) * C, p.d_logits, Op::none, w, Op::none, rows, C, V, false,
                   p.scratch);
        if (dw)
            matmul(dw, p.d_logits, Op::transpose, x_chunk, Op::none, V, C, rows, true, p.scratch);
    }
    double sum = 0;
    for (int r = 0; r < R; r++) sum += p.row_loss[r];
    *loss += sum / divisor;
}

template <class Real>
void head_loss_tune(int R, int C, int V) {
    const int rows = rows_at_once<Real>(R, V);
    tune_matmul<Accum<Real>, Real>(Op::none, Op::transpose, rows, V, C, false);
    tune_matmul<Real, Real>(Op::none, Op::none, rows, C, V, false);
    tune_matmul<Accum<Real>, Real>(Op::transpose, Op::none, V, C, rows, true);
}

#define INSTANTIATE(Real)                                                                       \
    template void head_loss(double*, Real*, Accum<Real>*, const Real*, const Real*, const int*, \
                            const LossScale*, int, int, int, double, double);                   \
    template size_t head_loss_workspace<Real>(int, int);                                        \
    template void head_loss_tune<Real>(int, int, int);
INSTANTIATE(double)
#ifndef BACKEND_ELSEWHERE
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#endif
#undef INSTANTIATE

}  // namespace peri
