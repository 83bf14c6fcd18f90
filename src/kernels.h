// THE CONTRACT: every kernel of the model, what it computes and what it does to memory.
//
// - Order of arguments: outputs, inputs, sizes, scalars. Inputs are const. Arrays are row-major.
// - Forward outputs and activation gradients are OVERWRITTEN (they may hold NaN on entry);
//   parameter gradients (dw, dgamma, dbeta, dbias, dtable) and the loss are ACCUMULATED.
// - Kernels allocate nothing, keep nothing, print nothing, throw nothing. Some use the device's
//   workspace; a function X_workspace beside such a kernel X says how many bytes.
// - What is not finite stays visible: no maximum or comparison swallows a NaN, and a norm's rstd is
//   NaN, not 0, where the sum of squares overflows.
// - Any size >= 1 works. Pointers said to be optional may be null. Memory overlaps only where a
//   comment allows it.
// - Same inputs, same build, same machine, same number of threads: same bits.
//
// Real is the storage type of matrices and activations, Accum<Real> that of everything else (real.h):
// double, the oracle; float; bf16; fp16. quantise, which --fake-quant adds, is in few_bits.h.
// B batch, T tokens in a sequence, R = B T rows, C width, H heads, KV key/value heads, D head size,
// V vocabulary.
#pragma once

#include <cstddef>

#include "few_bits.h"
#include "loss_scale.h"
#include "real.h"

namespace peri {

// ---- norm ---------------------------------------------------------------------------------------
// Where a norm meets the residual stream, the addition is part of the same pass over memory: what the
// norm writes is "alpha z + ..." in place of "...".
template <class Real>
struct Plus {
    Accum<Real> alpha = 0;
    const Real* z = nullptr;  // (R,C), may be the array written; null: nothing is added

    constexpr Plus row(size_t r, int C) const { return {alpha, z ? z + r * C : nullptr}; }
};

// y[r,c] = gamma[c] x[r,c] rstd[r],   rstd[r] = 1 / sqrt(mean_c x[r,c]^2 + eps)            (Eq. 25)
// and with plus, where the norm is an output norm: y = alpha z + Norm(x)                    (Eq. 3)
//   y (R,C) out   rstd (R) out, kept for backward   x (R,C)   gamma (C)
template <class Real>
void rmsnorm_forward(Real* y, Accum<Real>* rstd, const Real* x, const Accum<Real>* gamma, int R,
                     int C, Accum<Real> eps, Plus<Real> plus = {});

// dx = J^T dy with the Jacobian J of Eq. 30;   dgamma[c] += sum_r dy[r,c] x[r,c] rstd[r]
// and with plus, where the norm is an input norm, the other gradient that meets at x:
// dx = alpha z + J^T dy
//   dx (R,C) out, may be dy   dgamma (C) accumulated, optional   dy, x (R,C)   gamma (C)   rstd (R)
template <class Real>
void rmsnorm_backward(Real* dx, Accum<Real>* dgamma, const Real* dy, const Real* x,
                      const Accum<Real>* gamma, const Accum<Real>* rstd, int R, int C,
                      Plus<Real> plus = {});

// y[r,c] = gamma[c] (x[r,c] - mean[r]) rstd[r] + beta[c],   rstd[r] = 1 / sqrt(var_c x[r,c] + eps)
//   y (R,C) out   mean, rstd (R) out, kept for backward   x (R,C)   gamma, beta (C)
template <class Real>
void layernorm_forward(Real* y, Accum<Real>* mean, Accum<Real>* rstd, const Real* x,
                       const Accum<Real>* gamma, const Accum<Real>* beta, int R, int C,
                       Accum<Real> eps, Plus<Real> plus = {});

// dx = alpha z + rstd (g - mean g - x^ mean(g x^)),   g = gamma dy,   x^ = (x - mean) rstd;
// dgamma += sum_r dy x^,   dbeta += sum_r dy
//   dx (R,C) out, may be dy   dgamma, dbeta (C) accumulated, optional   dy, x (R,C)   gamma (C)
//   mean, rstd (R)
template <class Real>
void layernorm_backward(Real* dx, Accum<Real>* dgamma, Accum<Real>* dbeta, const Real* dy,
                        const Real* x, const Accum<Real>* gamma, const Accum<Real>* mean,
                        const Accum<Real>* rstd, int R, int C, Plus<Real> plus = {});

// bytes either backward needs
template <class Real>
size_t norm_workspace(int C);

// ---- linear -------------------------------------------------------------------------------------
// y = x w^T + bias
//   y (R,O) out   x (R,C)   w (O,C)   bias (O) optional
template <class Real>
void linear_forward(Real* y, const Real* x, const Real* w, const Accum<Real>* bias, int R, int C,
                    int O);

// What linear_backward does with dx: q, k, v (and gate, up) read one input, so their products sum.
enum class Dx { overwrite, add };

// dx = dy w (or dx += dy w);   dw += dy^T x;   dbias[o] += sum_r dy[r,o]
//   dx (R,C) out, optional   dw (O,C), dbias (O) accumulated, optional
//   dy (R,O)   x (R,C)   w (O,C)
template <class Real>
void linear_backward(Real* dx, Accum<Real>* dw, Accum<Real>* dbias, const Real* dy, const Real* x,
                     const Real* w, int R, int C, int O, Dx mode);

// bytes forward and backward need
template <class Real>
size_t linear_workspace();

// Where a backend has several ways to compute these products, times them for this shape and uses
// the fastest from now on; the bits of the results depend on it. See backend_choices in device.h.
template <class Real>
void linear_tune(int R, int C, int O);

// ---- rope ---------------------------------------------------------------------------------------
// table[t, i] = cos(theta), table[t, D/2 + i] = sin(theta),   theta = t base^(-2i/D),   i < D/2
//   table (T,D) out   D even
template <class Real>
void rope_table(Accum<Real>* table, int T, int D, double base);

// Rotates each pair (x[i], x[i + D/2]) of each head of token t by the angle of position first + t.
//   y (B,T,H,D) out, may be x   x (B,T,H,D)   table (first + T, D)
template <class Real>
void rope_forward(Real* y, const Real* x, const Accum<Real>* table, int B, int T, int H, int D,
                  int first);

// The transpose of a rotation is the rotation back.
//   dx (B,T,H,D) out, may be dy   dy (B,T,H,D)
template <class Real>
void rope_backward(Real* dx, const Real* dy, const Accum<Real>* table, int B, int T, int H, int D,
                   int first);

// ---- attention ----------------------------------------------------------------------------------
// Tq queries at positions first .. first + Tq - 1 read Tk keys at positions 0 .. Tk - 1;
// first + Tq <= Tk. Head h reads key/value head h / (H / KV); H is a multiple of KV.
struct AttentionShape {
    int B, Tq, Tk, first, H, KV, D;
};

// Query t of sequence b sees keys document[b,t] <= j <= first + t (document null: from 0 on):
//   s_j = q . k_j / sqrt(D),   p = softmax(s),   out = sum_j p_j v_j,   lse = log sum_j exp s_j
//   out (B,Tq,H,D) out   lse (B,H,Tq) out, kept for backward   q (B,Tq,H,D)   k, v (B,Tk,KV,D)
//   document (B,Tq) optional: the key position at which the query's document starts
template <class Real>
void attention_forward(Real* out, Accum<Real>* lse, const Real* q, const Real* k, const Real* v,
                       const int* document, AttentionShape shape);

// ds_j = p_j (dout . v_j - dout . out) / sqrt(D),   dq = sum_j ds_j k_j; and over all that read key j
// dk_j = sum ds_j q,   dv_j = sum p_j dout
//   dq (B,Tq,H,D), dk, dv (B,Tk,KV,D) out
//   dout, out, q (B,Tq,H,D)   k, v (B,Tk,KV,D)   lse (B,H,Tq)
template <class Real>
void attention_backward(Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out,
                        const Real* q, const Real* k, const Real* v, const Accum<Real>* lse,
                        const int* document, AttentionShape shape);

// bytes forward and backward need: linear in Tq and Tk, but where set_attention (device.h) lets a library
// compute this shape: its backward may keep Tq x Tk numbers for each head of some sequences
template <class Real>
size_t attention_workspace(AttentionShape shape);

// ---- activation ---------------------------------------------------------------------------------
// h = silu(gate) up,   silu(g) = g / (1 + exp(-g))
//   h, gate, up (n)
template <class Real>
void swiglu_forward(Real* h, const Real* gate, const Real* up, size_t n);

// dup = dh silu(gate),   dgate = dh up silu'(gate)
//   dgate, dup (n) out, either may be dh   dh, gate, up (n)
template <class Real>
void swiglu_backward(Real* dgate, Real* dup, const Real* dh, const Real* gate, const Real* up,
                     size_t n);

// h = max(x, 0); its derivative at 0 is taken as 0. Proposition 3.1's own MLP.
//   h, x (n)
template <class Real>
void relu_forward(Real* h, const Real* x, size_t n);

//   dx (n) out, may be dh   dh, x (n)
template <class Real>
void relu_backward(Real* dx, const Real* dh, const Real* x, size_t n);

// ---- embedding ----------------------------------------------------------------------------------
// y[r] = table[tokens[r]]
//   y (R,C) out   table (V,C)   tokens (R), each in 0 .. V-1
template <class Real>
void embedding_forward(Real* y, const Real* table, const int* tokens, int R, int C);

// dtable[tokens[r]] += dy[r]: order lists the rows sorted by token, ties by row, so that no backend needs
// atomics whose order changes bits.
//   dtable (V,C) accumulated   dy (R,C)   tokens (R)   order (R)
template <class Real>
void embedding_backward(Accum<Real>* dtable, const Real* dy, const int* tokens, const int* order,
                        int R, int C);

// ---- residual -----------------------------------------------------------------------------------
// y = alpha x + a, on the residual stream. Its backward is the same sum, of the two gradients that
// meet at x: dx = alpha dy + da.
//   y (n) out, may be x or a   x, a (n)
template <class Real>
void residual_add(Real* y, const Real* x, const Real* a, Accum<Real> alpha, size_t n);

// ---- loss: head and softmax cross-entropy, in chunks of rows ------------------------------------
// logits = x w^T over the first V rows of w;   Z = sum_v exp(logits[v]);   p = exp(logits) / Z
//   *loss  += sum over rows with a target of -log p[target] / divisor
//   dlogits = loss_scale->scale (p - onehot(target) + 2 z_loss log(Z) p) / divisor
//   dx      = dlogits w,   dw += dlogits^T x
// The last term of dlogits is the gradient of z-loss, z_loss (log Z)^2 / divisor a row, which keeps
// log Z near 0 (PaLM, Chowdhery et al. 2022, Section 5). *loss is the cross-entropy alone, so that
// runs with and without z-loss compare.
// Rows with target -1 count for nothing and get dx = 0. Rows V .. of w are padding: never read.
//   loss (1) accumulated   dx (R,C) out, dw (V,C) accumulated: both null when only evaluating
//   x (R,C)   w (V or more,C)   targets (R), each -1 or in 0 .. V-1   loss_scale (1) optional: 1
//   divisor > 0   z_loss >= 0
template <class Real>
void head_loss(double* loss, Real* dx, Accum<Real>* dw, const Real* x, const Real* w,
               const int* targets, const LossScale* loss_scale, int R, int C, int V, double divisor,
               double z_loss);

// bytes: the logits of so many rows as the backend takes at once, 64 MiB of them on the CPU and 1 GiB on a
// GPU, or one row where that is more, and what the products need
template <class Real>
size_t head_loss_workspace(int R, int V);

// as linear_tune
template <class Real>
void head_loss_tune(int R, int C, int V);

// ---- optimizer ----------------------------------------------------------------------------------
// sums[b] = sum of g[i]^2, in double, over block b of square_block numbers (the last may be shorter).
// Processes that share the work (comm.h) take whole blocks: the norm has the same bits however many
// they are.
//   sums (square_blocks(n)) out   g (n)
constexpr size_t square_block = size_t(1) << 16;
constexpr size_t square_blocks(size_t n) { return (n + square_block - 1) / square_block; }
template <class Real>
void sum_of_squares(double* sums, const Accum<Real>* g, size_t n);

// *norm = sqrt(sum_b sums[b]) / loss_scale->scale, added in one order whatever the threads;
// *scale = min(1, max_norm / *norm) / loss_scale->scale; max_norm = 0: no clipping. Where the norm is
// not finite *scale is NaN, or 0 with a loss_scale, which takes note of every step (move_on).
//   norm (1), scale (1) out   loss_scale (1) in and out, optional: 1   sums (blocks)
template <class Real>
void clip_scale(double* norm, Accum<Real>* scale, LossScale* loss_scale, const double* sums,
                size_t blocks, double max_norm);

// Adam with decoupled weight decay (AdamW); step: the number of this update, from 1; *scale = 0: no update.
//   g' = *scale g,   m = beta1 m + (1 - beta1) g',   v = beta2 v + (1 - beta2) g'^2
//   w -= lr (m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps) + weight_decay w)
struct AdamW {
    double lr, beta1, beta2, eps, weight_decay;
    int step;
};
//   w, m, v (n) in and out   g (n)   scale (1)
//   master (n) in and out: the weights that w is the rounding of, so that small updates add up;
//   null where Real is as wide as Accum<Real>
template <class Real>
void adamw_update(Real* w, Accum<Real>* master, Accum<Real>* m, Accum<Real>* v,
                  const Accum<Real>* g, const Accum<Real>* scale, size_t n, AdamW settings);

// SGD with momentum, likewise:   m = momentum m + *scale g + weight_decay w,   w -= lr m
struct Sgd {
    double lr, momentum, weight_decay;
};
//   w, m (n) in and out   g (n)   scale (1)   master (n): as above
template <class Real>
void sgd_update(Real* w, Accum<Real>* master, Accum<Real>* m, const Accum<Real>* g,
                const Accum<Real>* scale, size_t n, Sgd settings);

}  // namespace peri
