// What each kernel of kernels.h has to do, in its order: floating-point operations, counted for products
// alone (one each for a multiplication and an addition), and bytes that must be read or written once however
// well it is done. A kernel that reads something twice has no more of either: it is slower. What is as short
// as a row (gamma, tables of angles) is left out.
#pragma once

#include <cstddef>

#include "kernels.h"

namespace peri {

struct Work {
    double flops = 0, bytes = 0;
};

// x -> y, and z where there is one; rstd
template <class Real>
constexpr Work norm_forward_work(double R, double C, bool plus) {
    return {0, sizeof(Real) * R * C * (2 + plus) + sizeof(Accum<Real>) * R};
}
// dy, x -> dx
template <class Real>
constexpr Work norm_backward_work(double R, double C, bool plus) {
    return {0, sizeof(Real) * R * C * (3 + plus) + sizeof(Accum<Real>) * R};
}

template <class Real>
constexpr Work linear_forward_work(double R, double C, double O) {
    return {2 * R * C * O, sizeof(Real) * (R * C + O * C + R * O)};
}
// two products: dx from dy and w, dw (read and written) from dy and x
template <class Real>
constexpr Work linear_backward_work(double R, double C, double O, Dx mode) {
    return {4 * R * C * O, sizeof(Real) * (2 * R * O + O * C + R * C * (mode == Dx::add ? 3 : 2)) +
                               2 * sizeof(Accum<Real>) * O * C};
}

// n = B T H D
template <class Real>
constexpr Work rope_work(double n) {
    return {0, 2 * sizeof(Real) * n};
}

// Pairs of a query and a key that it sees; documents, which make them fewer, are not known here.
constexpr double attention_pairs(AttentionShape s) {
    return double(s.B) * s.H * s.Tq * (s.first + (s.Tq + 1) / 2.0);
}
// q k^T and p v; q, k, v -> out, lse
template <class Real>
constexpr Work attention_forward_work(AttentionShape s) {
    const double queries = double(s.B) * s.Tq * s.H, keys = double(s.B) * s.Tk * s.KV;
    return {2 * 2 * s.D * attention_pairs(s),
            sizeof(Real) * s.D * (2 * queries + 2 * keys) + sizeof(Accum<Real>) * queries};
}
// s = q k^T again, dp = dout v^T, dv = p^T dout, dq = ds k, dk = ds^T q
template <class Real>
constexpr Work attention_backward_work(AttentionShape s) {
    const double queries = double(s.B) * s.Tq * s.H, keys = double(s.B) * s.Tk * s.KV;
    return {5 * 2 * s.D * attention_pairs(s),
            sizeof(Real) * s.D * (4 * queries + 4 * keys) + sizeof(Accum<Real>) * queries};
}

// gate, up -> h
template <class Real>
constexpr Work swiglu_forward_work(double n) {
    return {0, 3 * sizeof(Real) * n};
}
// dh, gate, up -> dgate, dup
template <class Real>
constexpr Work swiglu_backward_work(double n) {
    return {0, 5 * sizeof(Real) * n};
}

// a row of the table for each token
template <class Real>
constexpr Work embedding_forward_work(double R, double C) {
    return {0, sizeof(Real) * 2 * R * C};
}
// dy alone: how many rows of dtable are read and written depends on the tokens
template <class Real>
constexpr Work embedding_backward_work(double R, double C) {
    return {0, sizeof(Real) * R * C};
}

// x, a -> y
template <class Real>
constexpr Work residual_work(double n) {
    return {0, 3 * sizeof(Real) * n};
}

// x -> y
template <class Real>
constexpr Work quantise_work(double R, double C) {
    return {0, 2 * sizeof(Real) * R * C};
}

// one product, and three with gradients; the logits need never be written
template <class Real>
constexpr Work head_loss_work(double R, double C, double V, bool gradients) {
    return {(gradients ? 6 : 2) * R * C * V, sizeof(Real) * C * (R * (gradients ? 2 : 1) + V) +
                                                 (gradients ? 2 * sizeof(Accum<Real>) * V * C : 0)};
}

template <class Real>
constexpr Work sum_of_squares_work(double n) {
    return {0, sizeof(Accum<Real>) * n};
}
// g, and w, master, m and (of AdamW) v read and written; of a master's rounding w is only written
template <class Real>
constexpr Work update_work(double n, int moments) {
    const double weights = sizeof(Real) * (has_masters<Real> ? 1 : 2);
    const double wide = 1 + 2 * moments + (has_masters<Real> ? 2 : 0);
    return {0, n * (weights + sizeof(Accum<Real>) * wide)};
}

}  // namespace peri
