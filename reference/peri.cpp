// Peri-LN in one file: a Transformer language model, its gradients by hand, AdamW, bytes of a text.
//
// "Peri-LN: Revisiting Normalization Layer in the Transformer Architecture" (the equations named below
// are that paper's) compares norms at three places around a module, attention or MLP. Its answer and
// nine others are one and the same five lines:
//
//     x~ = A ? Norm(x) : x          A  input norm
//     a  = Module(x~)
//     a~ = B ? Norm(a) : a          B  output norm
//     o  = alpha x + a~
//     y  = C ? Norm(o) : o          C  norm on the residual stream
//
// Post-LN has C, Pre-LN has A, Peri-LN has A and B; the table below has them all.
//
// Build  g++ -std=c++20 -O3 -march=native -fopenmp reference/peri.cpp -o single     (or make single)
// Run    ./single book.txt --norm peri
//
// It needs the standard library alone, and without -fopenmp it runs on one thread. It reads nothing
// of src/, where the same model is built to be fast: tests/test_reference.cpp holds one against the
// other. Shapes: B sequences of T tokens, R = B T rows, C width, H heads, D = C / H numbers a head,
// V vocabulary. Arrays are row-major: x (R,C) has x[r * C + c]. The gradient of x is called dx.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#ifndef REAL
#define REAL float
#endif

namespace reference {

using Real = REAL;  // or double
using Array = std::vector<Real>;
using Bytes = std::vector<unsigned char>;

// ---- random numbers -----------------------------------------------------------------------------
// SplitMix64: a counter behind a mixing function. A stream of its own for every list of coordinates
// (seed, step, row, ...), so that each number depends on what it is for and on nothing else.
struct Random {
    uint64_t state = 0;

    static constexpr uint64_t golden = 0x9e3779b97f4a7c15;
    static uint64_t mix(uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    explicit Random(uint64_t seed, std::initializer_list<uint64_t> coordinates = {}) {
        state = mix(seed + golden);
        for (const uint64_t c : coordinates) state = mix(state ^ mix(c + golden));
    }
    double uniform() {                                                   // in [0, 1)
        return double(mix(state += golden) >> 11) / 9007199254740992.0;  // 53 bits
    }
    double normal() {  // Box and Muller
        const double radius = std::sqrt(-2 * std::log(1 - uniform()));
        return radius * std::cos(2 * 3.141592653589793 * uniform());
    }
};

// ---- the ten placements -------------------------------------------------------------------------
enum class Alpha { one, sublayers, depth };  // 1, 2L, (2L)^(1/4)
enum class Start { usual, deep, simple };    // how matrices begin, see make_sublayer

struct Placement {
    const char* name;
    bool input, output, main;  // norms at A, B, C
    const char* qk;  // norms of queries and keys: none, each head's, all heads' at once (full)
    bool inner;      // norms of v, gate and up too
    Alpha alpha;
    bool embedding_norm, final_norm;
    Start start;
};

// clang-format off
constexpr Placement placements[] = {
    //            A  B  C  q, k  inner   alpha        embedding final  start
    {"post",       0, 0, 1, "none", 0, Alpha::one,       0, 0, Start::usual},   // Eq. 1
    {"pre",        1, 0, 0, "none", 0, Alpha::one,       0, 1, Start::usual},   // Eq. 2
    {"peri",       1, 1, 0, "none", 0, Alpha::one,       1, 1, Start::usual},   // Eq. 3
    {"output",     0, 1, 0, "none", 0, Alpha::one,       0, 1, Start::usual},   // Table 5
    {"input-main", 1, 0, 1, "none", 0, Alpha::one,       0, 0, Start::usual},   // Table 5
    {"olmo2",      0, 1, 0, "full", 0, Alpha::one,       0, 1, Start::usual},   // Appendix H
    {"keel",       1, 0, 1, "none", 0, Alpha::sublayers, 0, 0, Start::usual},   // 2601.19895
    {"simple",     0, 1, 0, "full", 1, Alpha::one,       0, 1, Start::simple},  // 2602.01212
    {"deep",       0, 0, 1, "none", 0, Alpha::depth,     0, 0, Start::deep},    // 2203.00555
    {"mix",        0, 0, 0, "none", 0, Alpha::one,       0, 0, Start::usual},   // 2412.13795:
};  // the first quarter of mix's layers is post, the rest pre; its own row is never used
// clang-format on

const Placement& find_placement(const std::string& name) {
    std::string names;
    for (const Placement& p : placements) {
        if (name == p.name) return p;
        names += std::string(" ") + p.name;
    }
    throw std::runtime_error("--norm " + name + " is no placement; choose one of" + names);
}

struct Config {
    int layers = 12, width = 128, heads = 4, kv_heads = 4, ffn = 384, vocab = 256;
    std::string norm = "peri";
    std::string qk_norm = "auto", embedding_norm = "auto",
                final_norm = "auto";   // as the table has it
    bool layernorm = false;            // in place of RMSNorm
    bool freeze_output_gamma = false;  // output norms are not trained (Section 5.3)
    double norm_eps = 1e-5, rope_base = 10000;
    double z_loss = 0;           // weight of (log Z)^2 beside the loss
    bool document_mask = false;  // attention does not look beyond the latest separator
    int separator = 0;

    Placement placement(int layer) const {
        const bool mix_post = norm == "mix" && layer < (layers + 3) / 4;
        Placement p = find_placement(norm != "mix" ? norm : mix_post ? "post" : "pre");
        if (qk_norm != "auto") p.qk = qk_norm.c_str();
        return p;
    }
};

// ---- what is learned ----------------------------------------------------------------------------
struct Tensor {
    std::string name;
    int rows, cols;         // a norm's vectors have rows = 0
    double mean, std, cut;  // first values: mean + std N(0,1), without draws beyond cut (0: none)
    bool trained;           // else it keeps them
    Array value, gradient, m, v;  // m, v: AdamW's means of the gradient and of its square
};

struct Norm {
    Tensor *gamma = nullptr, *beta = nullptr;  // beta: LayerNorm alone
    Real eps = 0;
    Array z = {}, s = {};  // what forward keeps for backward
    explicit operator bool() const { return gamma; }
};

// ---- norms --------------------------------------------------------------------------------------
// RMSNorm (Eq. 25), each row x of C numbers:
//     y_p = gamma_p z_p,    z_p = x_p s,    s = (1/C sum_k x_k^2 + eps)^(-1/2)
// LayerNorm (Appendix G.4) takes the mean off x first, and has a beta: y_p = gamma_p z_p + beta_p.
//   y may be x; NaN where the squares overflow: 1 / inf would make a calm row of zeros
void norm_forward(Array& y, const Array& x, Norm& norm) {
    const int C = norm.gamma->cols, R = int(x.size() / C);
    const Real* const gamma = norm.gamma->value.data();
    y.resize(x.size());
    norm.z.resize(x.size());
    norm.s.resize(R);
#pragma omp parallel for
    for (int r = 0; r < R; r++) {
        const Real* const x_r = &x[size_t(r) * C];
        Real *const y_r = &y[size_t(r) * C], *const z_r = &norm.z[size_t(r) * C];
        Real mean = 0, squares = 0;
        for (int c = 0; norm.beta && c < C; c++) mean += x_r[c] / Real(C);
        for (int c = 0; c < C; c++) squares += (x_r[c] - mean) * (x_r[c] - mean);
        norm.s[r] = std::isinf(squares) ? NAN : 1 / std::sqrt(squares / Real(C) + norm.eps);
        for (int c = 0; c < C; c++) z_r[c] = (x_r[c] - mean) * norm.s[r];
        for (int c = 0; c < C; c++) y_r[c] = gamma[c] * z_r[c];
        for (int c = 0; norm.beta && c < C; c++) y_r[c] += norm.beta->value[c];
    }
}

// RMSNorm. Since ds/dx_q = -s^3 x_q / C, the Jacobian is (Eqs. 27 to 30; Proposition 3.1 rests on it)
//     J_pq = gamma_p (s delta_pq - s^3 x_p x_q / C),    the derivative of y_p by x_q
// and with g_p = gamma_p dy_p
//     dx_q = sum_p dy_p J_pq = s (g_q - z_q 1/C sum_p g_p z_p)
// The larger x, the smaller s: an output norm damps the gradient of a module whose output is massive.
//
// LayerNorm. The mean, too, depends on x; all that adds is a mean taken off g as well:
//     dx_q = s (g_q - 1/C sum_p g_p - z_q 1/C sum_p g_p z_p)
// Both: dgamma_q += sum_r dy_q z_q,   dbeta_q += sum_r dy_q.    dx may be dy.
void norm_backward(Array& dx, const Array& dy, const Norm& norm) {
    const int C = norm.gamma->cols, R = int(dy.size() / C);
    const Real* const gamma = norm.gamma->value.data();
    for (int r = 0; norm.gamma->trained && r < R; r++) {  // in the order of rows: no race
        const Real *const dy_r = &dy[size_t(r) * C], *const z_r = &norm.z[size_t(r) * C];
        for (int c = 0; c < C; c++) norm.gamma->gradient[c] += dy_r[c] * z_r[c];
        for (int c = 0; norm.beta && c < C; c++) norm.beta->gradient[c] += dy_r[c];
    }
    dx.resize(dy.size());
#pragma omp parallel for
    for (int r = 0; r < R; r++) {
        const Real *const dy_r = &dy[size_t(r) * C], *const z_r = &norm.z[size_t(r) * C];
        Real* const dx_r = &dx[size_t(r) * C];
        Real mean_g = 0, mean_gz = 0;
        for (int c = 0; norm.beta && c < C; c++) mean_g += gamma[c] * dy_r[c] / Real(C);
        for (int c = 0; c < C; c++) mean_gz += gamma[c] * dy_r[c] * z_r[c] / Real(C);
        for (int c = 0; c < C; c++)
            dx_r[c] = norm.s[r] * (gamma[c] * dy_r[c] - mean_g - z_r[c] * mean_gz);
    }
}

// ---- linear layers ------------------------------------------------------------------------------
// y (n,cols) += a b,   a (n,inner) with a_ik = a[i * a_i + k * a_k],   b (inner,cols). A tile of 32
// rows of y meets 32 rows of b while these are in the cache; the order of a sum is that of k.
void add_product(Real* y, const Real* a, size_t a_i, size_t a_k, const Real* b, int n, int inner,
                 int cols) {
    constexpr int tile = 32;
#pragma omp parallel for
    for (int i0 = 0; i0 < n; i0 += tile)
        for (int k0 = 0; k0 < inner; k0 += tile)
            for (int i = i0; i < std::min(i0 + tile, n); i++) {
                Real* const y_i = y + size_t(i) * cols;
                const int end = std::min(k0 + tile, inner);
                int k = k0;
                for (; k + 4 <= end; k += 4) {  // four at once: y is read and written less often
                    const Real *const row = a + i * a_i + k * a_k, *const b_k =
                                                                       b + size_t(k) * cols;
                    const Real a0 = row[0], a1 = row[a_k], a2 = row[2 * a_k], a3 = row[3 * a_k];
                    const Real *const b1 = b_k + cols, *const b2 = b1 + cols, *const b3 = b2 + cols;
#pragma omp simd
                    for (int j = 0; j < cols; j++)
                        y_i[j] += a0 * b_k[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j];
                }
                for (; k < end; k++)
                    for (int j = 0; j < cols; j++)
                        y_i[j] += a[i * a_i + k * a_k] * b[size_t(k) * cols + j];
            }
}

// y = x w^T over the first `out` rows of w (out,C)
void linear_forward(Array& y, const Array& x, const Tensor& w, int out) {
    const int C = w.cols, R = int(x.size() / C);
    Array w_transposed(size_t(C) * out);  // so that the inner loop runs along memory
    for (int i = 0; i < out; i++)
        for (int c = 0; c < C; c++) w_transposed[size_t(c) * out + i] = w.value[size_t(i) * C + c];
    y.assign(size_t(R) * out, 0);
    add_product(y.data(), x.data(), C, 1, w_transposed.data(), R, C, out);
}

// y_i = sum_c w_ic x_c, hence dx_c += sum_i dy_i w_ic and dw_ic += sum_r dy_i x_c:
//     dx += dy w,    dw += dy^T x
void linear_backward(Array& dx, const Array& dy, const Array& x, Tensor& w, int out) {
    const int C = w.cols, R = int(x.size() / C);
    dx.resize(x.size(), 0);
    add_product(dx.data(), dy.data(), out, 1, w.value.data(), R, out, C);
    add_product(w.gradient.data(), dy.data(), 1, out, x.data(), out, R, C);
}

// ---- rotary positions (RoPE) --------------------------------------------------------------------
// The sequences of a batch as attention sees them. Heads share keys and values in groups: head h
// reads those of h / (H / KV).
struct Sequences {
    int B, T, H, KV, D;
    double rope_base;
    std::vector<int> document;  // (B,T) position at which a token's document begins

    size_t query(int b, int t, int h) const { return ((size_t(b) * T + t) * H + h) * D; }
    size_t key(int b, int j, int h) const { return ((size_t(b) * T + j) * KV + h / (H / KV)) * D; }
    size_t row_of_p(int b, int h, int t) const { return ((size_t(b) * H + h) * T + t) * T; }
};

// Turns the pair (x_i, x_{i+D/2}) of every head by the angle t base^(-2i/D) of its position t:
//     x_i' = x_i cos - x_{i+D/2} sin,    x_{i+D/2}' = x_{i+D/2} cos + x_i sin
// A rotation's transpose turns back, so backward is the same with sign = -1.    x (B,T,heads,D)
void rope(Array& x, const Sequences& in, int heads, double sign) {
    const int D = in.D, half = D / 2;
#pragma omp parallel for
    for (int i = 0; i < half; i++) {
        const double frequency = std::pow(in.rope_base, -2.0 * i / D);
        for (int r = 0; r < in.B * in.T; r++) {
            const double angle = r % in.T * frequency;
            const Real cosine = Real(std::cos(angle)), sine = Real(sign * std::sin(angle));
            for (int h = 0; h < heads; h++) {
                Real* const pair = &x[(size_t(r) * heads + h) * D + i];
                const Real first = pair[0], second = pair[half];
                pair[0] = first * cosine - second * sine;
                pair[half] = second * cosine + first * sine;
            }
        }
    }
}

// ---- causal attention ---------------------------------------------------------------------------
Real dot(const Real* a, const Real* b, int n) {
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

void add_scaled(Real* y, Real scale, const Real* a, int n) {
#pragma omp simd
    for (int i = 0; i < n; i++) y[i] += scale * a[i];
}

// Query t sees the keys j from its document's first token on to itself:
//     s_j = q . k_j / sqrt(D),    p = softmax(s),    out = sum_j p_j v_j
//   out (B,T,H,D)   p (B,H,T,T), kept   q (B,T,H,D)   k, v (B,T,KV,D)   document (B,T)
void attention_forward(Array& out, Array& p, const Array& q, const Array& k, const Array& v,
                       const Sequences& in) {
    out.assign(q.size(), 0);
    p.resize(size_t(in.B) * in.H * in.T * in.T);
    const Real scale = 1 / std::sqrt(Real(in.D));
#pragma omp parallel for
    for (int bh = 0; bh < in.B * in.H; bh++)
        for (int t = 0; t < in.T; t++) {
            const int b = bh / in.H, h = bh % in.H, first = in.document[b * in.T + t];
            Real* const p_t = &p[in.row_of_p(b, h, t)];
            Real most = -INFINITY, sum = 0;
            for (int j = first; j <= t; j++) {
                p_t[j] = scale * dot(&q[in.query(b, t, h)], &k[in.key(b, j, h)], in.D);
                most = std::max(most, p_t[j]);
            }
            for (int j = first; j <= t; j++) sum += p_t[j] = std::exp(p_t[j] - most);
            for (int j = first; j <= t; j++) {
                p_t[j] /= sum;
                add_scaled(&out[in.query(b, t, h)], p_t[j], &v[in.key(b, j, h)], in.D);
            }
        }
}

// dp_j = dout . v_j. The Jacobian of softmax is dp_j/ds_i = p_j (delta_ij - p_i), hence
//     ds_j = p_j (dp_j - sum_i p_i dp_i)
//     dq = sum_j ds_j k_j / sqrt(D),    dk_j += ds_j q / sqrt(D),    dv_j += p_j dout
// One thread has all the heads that share keys and values, as it alone adds to their dk and dv.
void attention_backward(Array& dq, Array& dk, Array& dv, const Array& dout, const Array& p,
                        const Array& q, const Array& k, const Array& v, const Sequences& in) {
    dq.assign(q.size(), 0);
    dk.assign(k.size(), 0);
    dv.assign(v.size(), 0);
    const Real scale = 1 / std::sqrt(Real(in.D));
    const int group = in.H / in.KV;
#pragma omp parallel for
    for (int shared = 0; shared < in.B * in.KV; shared++) {
        Array dp(in.T);
        const int b = shared / in.KV, h0 = shared % in.KV * group;
        for (int h = h0; h < h0 + group; h++)
            for (int t = 0; t < in.T; t++) {
                const int first = in.document[b * in.T + t];
                const size_t query = in.query(b, t, h);
                const Real* const p_t = &p[in.row_of_p(b, h, t)];
                Real sum = 0;
                for (int j = first; j <= t; j++) {
                    dp[j] = dot(&dout[query], &v[in.key(b, j, h)], in.D);
                    sum += p_t[j] * dp[j];
                }
                for (int j = first; j <= t; j++) {
                    const size_t key = in.key(b, j, h);
                    const Real ds = p_t[j] * (dp[j] - sum);
                    add_scaled(&dq[query], scale * ds, &k[key], in.D);
                    add_scaled(&dk[key], scale * ds, &q[query], in.D);
                    add_scaled(&dv[key], p_t[j], &dout[query], in.D);
                }
            }
    }
}

// ---- SwiGLU -------------------------------------------------------------------------------------
// h = silu(gate) up,    silu(g) = g sigma(g),    sigma(g) = 1 / (1 + exp(-g))
void swiglu_forward(Array& h, const Array& gate, const Array& up) {
    h.resize(gate.size());
#pragma omp parallel for
    for (size_t i = 0; i < h.size(); i++) h[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

// sigma' = sigma (1 - sigma), hence silu'(g) = sigma(g) (1 + g (1 - sigma(g))):
//     dgate = dh up silu'(gate),    dup = dh silu(gate)
void swiglu_backward(Array& dgate, Array& dup, const Array& dh, const Array& gate,
                     const Array& up) {
    dgate.resize(dh.size());
    dup.resize(dh.size());
#pragma omp parallel for
    for (size_t i = 0; i < dh.size(); i++) {
        const Real sigma = 1 / (1 + std::exp(-gate[i]));
        dgate[i] = dh[i] * up[i] * sigma * (1 + gate[i] * (1 - sigma));
        dup[i] = dh[i] * gate[i] * sigma;
    }
}

// ---- softmax and cross-entropy ------------------------------------------------------------------
// Z = sum_v exp(logits_v),    p = exp(logits) / Z,    loss = mean of log Z - logits_target
// over the rows that have a target, which is what is returned. What backward differentiates is that
// and z_loss (log Z)^2. With d log Z / dlogits = p:
//     dlogits = (p - onehot(target) + 2 z_loss log(Z) p) / (rows with a target)
//   logits (R,V) in, dlogits out, in the same memory   targets (R), -1: none
double cross_entropy(Array& logits, const std::vector<int>& targets, int V, double z_loss) {
    const int R = int(targets.size());
    const auto targeted = R - std::count(targets.begin(), targets.end(), -1);
    const Real divisor = Real(std::max<std::ptrdiff_t>(targeted, 1));
    std::vector<double> loss(R, 0);
#pragma omp parallel for
    for (int r = 0; r < R; r++) {
        Real* const row = &logits[size_t(r) * V];
        if (targets[r] < 0) {
            std::fill_n(row, V, Real(0));
            continue;
        }
        const Real most = *std::max_element(row, row + V), at_target = row[targets[r]];
        Real sum = 0;
        for (int v = 0; v < V; v++) sum += row[v] = std::exp(row[v] - most);
        loss[r] = std::log(double(sum)) + double(most - at_target);
        const Real factor = 1 + 2 * Real(z_loss) * (std::log(sum) + most);
        for (int v = 0; v < V; v++) row[v] *= factor / sum / divisor;
        row[targets[r]] -= 1 / divisor;
    }
    return std::accumulate(loss.begin(), loss.end(), 0.0) / double(divisor);
}

// ---- the sub-layer ------------------------------------------------------------------------------
// y = w x~, and the norm of that where there is one.
struct Projection {
    Tensor* w = nullptr;
    Norm norm = {};
    Array y = {};
};

void project(Projection& p, const Array& x) {
    linear_forward(p.y, x, *p.w, p.w->rows);
    if (p.norm) norm_forward(p.y, p.y, p.norm);
}

// dx is added to; dy is lost
void project_backward(Array& dx, Array& dy, const Array& x, Projection& p) {
    if (p.norm) norm_backward(dy, dy, p.norm);
    linear_backward(dx, dy, x, *p.w, p.w->rows);
}

struct SubLayer {
    bool attention;  // else MLP
    Real alpha = 1;
    Norm input_norm = {}, output_norm = {}, main_norm = {};  // A, B, C
    Projection q = {}, k = {}, v = {}, gate = {}, up = {};
    Tensor* w_out = nullptr;  // o, or the MLP's down

    // what forward keeps for backward: softmax's p, what attention read, the MLP's h, the five lines
    Array p = {}, context = {}, h = {}, x_tilde = {}, a = {}, o = {}, y = {};
    const Array& out() const { return main_norm ? y : o; }
};

// q, k, v -> [Norm] -> RoPE of q and k -> attention -> o
void attention_module_forward(SubLayer& s, const Array& x_tilde, const Sequences& in) {
    for (Projection* p : {&s.q, &s.k, &s.v}) project(*p, x_tilde);
    rope(s.q.y, in, in.H, 1);
    rope(s.k.y, in, in.KV, 1);
    attention_forward(s.context, s.p, s.q.y, s.k.y, s.v.y, in);
    linear_forward(s.a, s.context, *s.w_out, s.w_out->rows);
}

void attention_module_backward(Array& dx_tilde, const Array& da, const Array& x_tilde, SubLayer& s,
                               const Sequences& in) {
    Array dcontext, dq, dk, dv;
    linear_backward(dcontext, da, s.context, *s.w_out, s.w_out->rows);
    attention_backward(dq, dk, dv, dcontext, s.p, s.q.y, s.k.y, s.v.y, in);
    rope(dq, in, in.H, -1);
    rope(dk, in, in.KV, -1);
    project_backward(dx_tilde, dq, x_tilde, s.q);
    project_backward(dx_tilde, dk, x_tilde, s.k);
    project_backward(dx_tilde, dv, x_tilde, s.v);
}

// gate, up -> [Norm] -> SwiGLU -> down
void mlp_module_forward(SubLayer& s, const Array& x_tilde) {
    for (Projection* p : {&s.gate, &s.up}) project(*p, x_tilde);
    swiglu_forward(s.h, s.gate.y, s.up.y);
    linear_forward(s.a, s.h, *s.w_out, s.w_out->rows);
}

void mlp_module_backward(Array& dx_tilde, const Array& da, const Array& x_tilde, SubLayer& s) {
    Array dh, dgate, dup;
    linear_backward(dh, da, s.h, *s.w_out, s.w_out->rows);
    swiglu_backward(dgate, dup, dh, s.gate.y, s.up.y);
    project_backward(dx_tilde, dgate, x_tilde, s.gate);
    project_backward(dx_tilde, dup, x_tilde, s.up);
}

// The five lines.
const Array& sublayer_forward(SubLayer& s, const Array& x, const Sequences& in) {
    // x~ = A ? Norm(x) : x
    if (s.input_norm) norm_forward(s.x_tilde, x, s.input_norm);
    const Array& x_tilde = s.input_norm ? s.x_tilde : x;
    // a = Module(x~)
    if (s.attention) attention_module_forward(s, x_tilde, in);
    if (!s.attention) mlp_module_forward(s, x_tilde);
    // a~ = B ? Norm(a) : a
    s.o = s.a;
    if (s.output_norm) norm_forward(s.o, s.a, s.output_norm);
    // o = alpha x + a~
    add_scaled(s.o.data(), s.alpha, x.data(), int(x.size()));
    // y = C ? Norm(o) : o
    if (s.main_norm) norm_forward(s.y, s.o, s.main_norm);
    return s.out();
}

// The five lines, read upwards. (The gradient of o is do_, as `do` is a word of C++.)
void sublayer_backward(Array& dx, const Array& dy, const Array& x, SubLayer& s,
                       const Sequences& in) {
    // y = C ? Norm(o) : o
    Array do_ = dy;
    if (s.main_norm) norm_backward(do_, dy, s.main_norm);
    // a~ = B ? Norm(a) : a.  Through o = alpha x + a~, da~ is do.
    Array da = do_;
    if (s.output_norm) norm_backward(da, do_, s.output_norm);
    // a = Module(x~)
    const Array& x_tilde = s.input_norm ? s.x_tilde : x;
    Array dx_tilde(x.size(), 0);
    if (s.attention) attention_module_backward(dx_tilde, da, x_tilde, s, in);
    if (!s.attention) mlp_module_backward(dx_tilde, da, x_tilde, s);
    // x is read twice: dx = alpha do + what came back through x~ = A ? Norm(x) : x
    dx = dx_tilde;
    if (s.input_norm) norm_backward(dx, dx_tilde, s.input_norm);
    add_scaled(dx.data(), s.alpha, do_.data(), int(dx.size()));
}

// ---- the model ----------------------------------------------------------------------------------
struct Batch {
    int B, T;
    std::vector<int> tokens, targets;  // (B,T); target -1: not asked for
};

// embedding -> [Norm] -> 2L sub-layers -> [Norm] -> head
struct Model {
    Config config;
    std::deque<Tensor> tensors;  // all that is learned; a deque, as pointers to its elements stay
    Tensor *embedding, *head;
    Norm embedding_norm, final_norm;
    std::vector<SubLayer> sublayers;

    std::vector<int> tokens;  // of the latest batch, and what forward keeps of it
    Sequences sequences = {};
    Array embedded, x0, last, logits;

    const Array& hidden(size_t s) const { return s == 0 ? x0 : sublayers[s - 1].out(); }

    void forward_without_head(const Batch& batch) {
        const int D = config.width / config.heads, T = batch.T;
        tokens = batch.tokens;
        sequences = {batch.B, T, config.heads, config.kv_heads, D, config.rope_base, {}};
        for (int r = 0; r < batch.B * T; r++) {
            const bool begins =
                r % T == 0 || (config.document_mask && tokens[r] == config.separator);
            sequences.document.push_back(begins ? r % T : sequences.document[r - 1]);
        }
        embedded.clear();
        for (const int token : tokens) {  // row `token` of the embedding
            const Real* const row = &embedding->value[size_t(token) * config.width];
            embedded.insert(embedded.end(), row, row + config.width);
        }
        x0 = embedded;
        if (embedding_norm) norm_forward(x0, embedded, embedding_norm);
        for (size_t s = 0; s < sublayers.size(); s++)
            sublayer_forward(sublayers[s], hidden(s), sequences);
        last = hidden(sublayers.size());
        if (final_norm) norm_forward(last, hidden(sublayers.size()), final_norm);
    }

    // Returns the loss, nats a token.
    double forward(const Batch& batch) {
        forward_without_head(batch);
        linear_forward(logits, last, *head, config.vocab);
        return cross_entropy(logits, batch.targets, config.vocab, config.z_loss);
    }

    // After forward, which left dlogits in logits. Adds to every gradient.
    void backward() {
        Array dy, dx;
        linear_backward(dy, logits, last, *head, config.vocab);
        if (final_norm) norm_backward(dy, dy, final_norm);
        for (size_t s = sublayers.size(); s-- > 0; dy.swap(dx))
            sublayer_backward(dx, dy, hidden(s), sublayers[s], sequences);
        if (embedding_norm) norm_backward(dy, dy, embedding_norm);
        for (size_t r = 0; r < tokens.size(); r++)
            add_scaled(&embedding->gradient[size_t(tokens[r]) * config.width], 1,
                       &dy[r * config.width], config.width);
    }

    // ---- how it begins

    Tensor* add(const std::string& name, int rows, int cols, double mean, double std,
                double cut = 0, bool trained = true) {
        const Array zeros(size_t(std::max(rows, 1)) * cols);
        tensors.push_back({name, rows, cols, mean, std, cut, trained, zeros, zeros, zeros, zeros});
        return &tensors.back();
    }

    Norm add_norm(bool present, const std::string& name, int width, bool trained = true) {
        Norm norm;
        norm.eps = Real(config.norm_eps);
        if (present) norm.gamma = add(name + ".weight", 0, width, 1, 0, 0, trained);
        if (present && config.layernorm)
            norm.beta = add(name + ".bias", 0, width, 0, 0, 0, trained);
        return norm;
    }

    // Matrices begin as N(0, 0.02^2) (Table 2). DeepNorm scales v, o and the MLP's by (8L)^(-1/4);
    // SimpleNorm has N(0, 1) for the embedding, 0.02 / sqrt(2 l) for o, up and down of layer l = 1,
    // 2, ..., and 1 / sqrt(width), cut at three standard deviations, for the head.
    SubLayer make_sublayer(int layer, bool attention) {
        const Config& c = config;
        const Placement p = c.placement(layer);
        const int D = c.width / c.heads, kv_width = c.kv_heads * D;
        const bool full = p.qk == std::string("full"), qk = p.qk != std::string("none");
        const double deep = p.start == Start::deep ? 0.02 * std::pow(8.0 * c.layers, -0.25) : 0.02;
        const double writes = p.start == Start::simple ? 0.02 / std::sqrt(2.0 * (layer + 1)) : deep;
        const std::string name =
            "layers." + std::to_string(layer) + (attention ? ".attention." : ".mlp.");
        SubLayer s = {attention};
        if (p.alpha == Alpha::sublayers) s.alpha = Real(2 * c.layers);
        if (p.alpha == Alpha::depth) s.alpha = Real(std::pow(2.0 * c.layers, 0.25));
        // KEEL's first layer has alpha 1, and no norm of the sum after its attention
        const bool first_keel = p.alpha == Alpha::sublayers && layer == 0;
        if (first_keel) s.alpha = 1;
        s.input_norm = add_norm(p.input, name + "input_norm", c.width);
        if (attention) {
            s.q.w = add(name + "q.weight", c.width, c.width, 0, 0.02);
            s.k.w = add(name + "k.weight", kv_width, c.width, 0, 0.02);
            s.v.w = add(name + "v.weight", kv_width, c.width, 0, deep);
            s.q.norm = add_norm(qk, name + "q_norm", full ? c.width : D);
            s.k.norm = add_norm(qk, name + "k_norm", full ? kv_width : D);
            s.v.norm = add_norm(p.inner, name + "v_norm", kv_width);
            s.w_out = add(name + "o.weight", c.width, c.width, 0, writes);
        } else {
            s.gate.w = add(name + "gate.weight", c.ffn, c.width, 0, deep);
            s.up.w = add(name + "up.weight", c.ffn, c.width, 0, writes);
            s.gate.norm = add_norm(p.inner, name + "gate_norm", c.ffn);
            s.up.norm = add_norm(p.inner, name + "up_norm", c.ffn);
            s.w_out = add(name + "down.weight", c.width, c.ffn, 0, writes);
        }
        s.output_norm = add_norm(p.output, name + "output_norm", c.width, !c.freeze_output_gamma);
        s.main_norm = add_norm(p.main && !(first_keel && attention), name + "main_norm", c.width);
        return s;
    }

    explicit Model(const Config& c) : config(c) {
        const Placement before = c.placement(0), after = c.placement(c.layers - 1);
        const auto decide = [](const std::string& choice, bool table) {
            return choice == "auto" ? table : choice == "on";
        };
        const int rows = (c.vocab + 63) / 64 * 64;  // padded; the padding is never read
        const bool simple = after.start == Start::simple;
        const double head_std = simple ? 1 / std::sqrt(double(c.width)) : 0.02;
        embedding = add("embedding.weight", rows, c.width, 0, simple ? 1 : 0.02);
        embedding_norm =
            add_norm(decide(c.embedding_norm, before.embedding_norm), "embedding_norm", c.width);
        for (int s = 0; s < 2 * c.layers; s++)
            sublayers.push_back(make_sublayer(s / 2, s % 2 == 0));
        final_norm = add_norm(decide(c.final_norm, after.final_norm), "final_norm", c.width);
        head = add("head.weight", rows, c.width, 0, head_std, simple ? 3 : 0);
    }

    void initialise(uint64_t seed) {
        for (size_t i = 0; i < tensors.size(); i++) {
            const Tensor& w = tensors[i];
            Random random(seed, {i});
            for (Real& value : tensors[i].value) {
                double z = w.std > 0 ? random.normal() : 0;
                while (w.cut > 0 && std::abs(z) > w.cut) z = random.normal();
                value = Real(w.mean + w.std * z);
            }
        }
    }
};

// ---- AdamW --------------------------------------------------------------------------------------
// The gradient g, all tensors together, is first shortened to the norm `clip` where it is longer.
// Then, with beta = (0.9, 0.95), eps = 1e-8 and steps counted from 1:
//     m = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g^2
//     w -= lr (m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps) + weight_decay w)
// Weight decay is for matrices alone. Returns the norm of g, and leaves the gradients 0.
double adamw(std::deque<Tensor>& tensors, double lr, double weight_decay, double clip, int step) {
    double sum = 0;
    for (const Tensor& w : tensors)
        for (const Real g : w.gradient) sum += double(g) * double(g);  // 0 if not trained
    const double norm = std::sqrt(sum);
    const Real scale = norm <= clip ? 1 : Real(clip / norm);
    const Real beta1 = Real(0.9), beta2 = Real(0.95), eps = Real(1e-8), rate = Real(lr);
    const Real unbias1 = Real(1 / (1 - std::pow(0.9, step)));
    const Real unbias2 = Real(1 / (1 - std::pow(0.95, step)));
    for (Tensor& w : tensors) {
        if (!w.trained) continue;
        Real *const value = w.value.data(), *const m = w.m.data(), *const v = w.v.data();
        Real* const gradient = w.gradient.data();
        const Real decay = w.rows > 0 ? Real(weight_decay) : 0;
#pragma omp parallel for simd
        for (size_t i = 0; i < w.value.size(); i++) {
            const Real g = scale * gradient[i];
            m[i] = beta1 * m[i] + (1 - beta1) * g;
            v[i] = beta2 * v[i] + (1 - beta2) * g * g;
            const Real update = m[i] * unbias1 / (std::sqrt(v[i] * unbias2) + eps);
            value[i] -= rate * (update + decay * value[i]);
            gradient[i] = 0;
        }
    }
    return norm;
}

// From 0 up to lr over the first tenth of the steps, then down to 0 along half a cosine.
double learning_rate(double lr, int step, int steps) {
    const double warmup = std::round(0.1 * steps);
    if (step <= warmup) return lr * step / warmup;
    const double progress = (step - warmup) / std::max(1.0, steps - warmup);
    return lr * 0.5 * (1 + std::cos(3.141592653589793 * progress));
}

// ---- data: the bytes of a text ------------------------------------------------------------------
// Row r of the batch of a step: T + 1 adjacent bytes from anywhere in the first 95 % of the text.
Batch training_batch(const Bytes& text, uint64_t seed, int step, int B, int T) {
    const size_t places = text.size() - text.size() / 20 - T;
    Batch batch = {B, T, {}, {}};
    for (int r = 0; r < B; r++) {
        Random random(seed, {uint64_t(step), uint64_t(r), 1});  // 1: batches
        const auto first = text.begin() + ptrdiff_t(random.uniform() * double(places));
        batch.tokens.insert(batch.tokens.end(), first, first + T);
        batch.targets.insert(batch.targets.end(), first + 1, first + T + 1);
    }
    return batch;
}

// ---- sampling -----------------------------------------------------------------------------------
// Goes on from `text` by n bytes, each drawn from softmax(logits / temperature). The model sees the
// latest `context` bytes, and computes them all anew for each that it writes.
Bytes sample(Model& model, Bytes text, int n, int context, double temperature, Random random) {
    for (int i = 0; i < n; i++) {
        const int T = std::min(int(text.size()), context);
        model.forward_without_head({1, T, {text.end() - T, text.end()}, {}});
        const Array last(model.last.end() - model.config.width, model.last.end());
        Array p;
        linear_forward(p, last, *model.head, model.config.vocab);
        const Real most = *std::max_element(p.begin(), p.end());
        double sum = 0;
        for (Real& p_v : p) sum += p_v = Real(std::exp(double(p_v - most) / temperature));
        double left = random.uniform() * sum;
        size_t token = 0;
        while (token + 1 < p.size() && (left -= p[token]) >= 0) token++;
        text.push_back(static_cast<unsigned char>(token));
    }
    return text;
}

// ---- the program --------------------------------------------------------------------------------
[[noreturn]] void refuse(const std::string& why) { throw std::runtime_error(why); }

void run(const std::vector<std::string>& words) {
    std::map<std::string, double> flags = {{"--lr", 4e-3},   {"--steps", 200}, {"--batch", 16},
                                           {"--seq", 128},   {"--seed", 1},    {"--layers", 12},
                                           {"--width", 128}, {"--heads", 4},   {"--ffn", 384}};
    std::string norm = "peri", name, names = "--norm";
    for (const auto& [flag, value] : flags) names += " " + flag;
    for (size_t i = 0; i < words.size(); i++) {
        const std::string word = words[i], after = i + 1 < words.size() ? words[i + 1] : "";
        if (word.rfind("--", 0) != 0) {
            name = word;
            continue;
        }
        i++;
        if (word == "--norm") norm = find_placement(after).name;
        if (word != "--norm" && !flags.count(word)) refuse(word + " is no flag of " + names);
        char* end = nullptr;
        const double value = flags[word] = std::strtod(after.c_str(), &end);
        const bool good = *end == 0 && value > 0 && (word == "--lr" || value == int(value));
        if (word != "--norm" && !good) refuse(word + " '" + after + "': give a number above 0");
    }
    const auto flag = [&](const char* which) { return int(flags[which]); };
    const int steps = flag("--steps"), T = flag("--seq"), heads = flag("--heads");
    const Config config = {
        flag("--layers"), flag("--width"), heads, heads, flag("--ffn"), 256, norm};
    if (config.width % (2 * heads)) refuse("--width: choose a multiple of twice --heads");
    std::ifstream file(name, std::ios::binary);
    const Bytes text{std::istreambuf_iterator<char>(file), {}};
    if (text.size() / 20 <= size_t(T))
        refuse("'" + name + "': name a text file of at least 20 times (--seq + 1) bytes");
    Model model(config);
    model.initialise(flag("--seed"));
    for (int step = 1; step <= steps; step++) {
        const auto start = std::chrono::steady_clock::now();
        const double lr = learning_rate(flags["--lr"], step, steps);
        const double loss =
            model.forward(training_batch(text, flag("--seed"), step, flag("--batch"), T));
        model.backward();
        const double gradient_norm = adamw(model.tensors, lr, 0.033, 1, step);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        std::printf("step %d/%d  loss %.4f  grad norm %.2g  lr %.1e  %.0f ms\n", step, steps, loss,
                    gradient_norm, lr, 1e3 * seconds.count());
    }
    const Bytes prompt = {text[text.size() - text.size() / 20]};  // the first byte held out
    for (const char c : sample(model, prompt, 256, T, 0.8, Random(flag("--seed")))) std::putchar(c);
    std::putchar('\n');
}

}  // namespace reference

#ifndef REFERENCE_AS_LIBRARY
int main(int argc, char** argv) {
    try {
        reference::run({argv + 1, argv + argc});
    } catch (const std::exception& e) {
        std::fprintf(stderr, "single: %s\n", e.what());
        return 2;
    }
}
#endif
