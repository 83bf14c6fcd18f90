// The setting of Proposition 3.1 (Appendices B and C of the paper), put together from the kernels.
//
// One token passes the last MLP sub-layer of a network whose vocabulary is its width (D = V). In
// the paper's notation, vectors being rows:
//
//     x~ = Norm(x)                  Pre, Peri; Post: x~ = x
//     h  = ReLU(x~ W1 + b1)
//     a  = h W2 + b2
//     a~ = Norm(a)                  Peri; else a~ = a
//     o  = x + a~
//     o~ = Norm(o)                  Post, or where a final norm follows; else o~ = o
//     L  = -log p[target],   p = softmax(o~)
//     G  = dL/dW2
//
// As in all of peri.cpp a matrix is kept as (out, in): w1 is W1's transpose, and so are w2 and g.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "device.h"
#include "helpers.h"
#include "kernels.h"
#include "random.h"
#include "tolerance.h"

namespace proposition {

using Vec = std::vector<double>;

enum class Placement { pre, peri, post };

struct Setting {
    Placement placement = Placement::pre;
    bool final_norm = false;  // Pre-LN and Peri-LN models have one; the proposition leaves it out
    int D = 1, H = 1;         // width and vocabulary, width of the MLP
    int target = 0;
    double eps = 1e-5;
    Vec x;                          // (D)
    Vec w1, b1, w2, b2;             // (H,D), (H), (D,H), (D): W1 and W2 transposed
    Vec gamma_x, gamma_a, gamma_o;  // (D): the scales of x~, a~, o~
};

struct Pass {
    double loss = 0;
    Vec x_norm, h, a, a_norm, o, o_norm;  // x~, h, a, a~, o, o~
    Vec residual;                         // p - y = dL/do~, y the one-hot target
    Vec da;                               // dL/da
    Vec g;                                // dL/dW2 (D,H)
    double rstd_x = 0, rstd_a = 0, rstd_o = 0;
};

inline bool norms_a(const Setting& s) { return s.placement == Placement::peri; }
inline bool norms_o(const Setting& s) { return s.placement == Placement::post || s.final_norm; }

inline void forward(Pass& p, const Setting& s) {
    const auto normalize = [&](Vec& y, double& rstd, const Vec& x, const Vec& gamma) {
        peri::rmsnorm_forward<double>(y.data(), &rstd, x.data(), gamma.data(), 1, s.D, s.eps);
    };
    p.x_norm = s.x;
    if (s.placement != Placement::post) normalize(p.x_norm, p.rstd_x, s.x, s.gamma_x);

    Vec z(s.H);
    p.h.resize(s.H);
    p.a.resize(s.D);
    peri::linear_forward<double>(z.data(), p.x_norm.data(), s.w1.data(), s.b1.data(), 1, s.D, s.H);
    peri::relu_forward<double>(p.h.data(), z.data(), p.h.size());
    peri::linear_forward<double>(p.a.data(), p.h.data(), s.w2.data(), s.b2.data(), 1, s.H, s.D);

    p.a_norm = p.a;
    if (norms_a(s)) normalize(p.a_norm, p.rstd_a, p.a, s.gamma_a);

    p.o.resize(s.D);
    peri::residual_add<double>(p.o.data(), s.x.data(), p.a_norm.data(), 1, p.o.size());
    p.o_norm = p.o;
    if (norms_o(s)) normalize(p.o_norm, p.rstd_o, p.o, s.gamma_o);
}

// Forward, the loss, and back to W2.
inline Pass run(const Setting& s) {
    const peri::Threads one(1);  // one row of numbers is no work for two
    peri::reserve_workspace<double>(
        std::max(peri::norm_workspace<double>(s.D), peri::head_loss_workspace<double>(1, s.D)));
    Pass p;
    forward(p, s);

    Vec head(s.D * s.D), dhead(s.D * s.D);  // logits = o~: the head is the identity
    for (int i = 0; i < s.D; i++) head[i * s.D + i] = 1;
    p.residual.resize(s.D);
    peri::head_loss<double>(&p.loss, p.residual.data(), dhead.data(), p.o_norm.data(), head.data(),
                            &s.target, nullptr, 1, s.D, s.D, 1, 0);

    // dL/do~ -> dL/do = dL/da~ (o = x + a~) -> dL/da -> G
    p.da = p.residual;
    if (norms_o(s))
        peri::rmsnorm_backward<double>(p.da.data(), nullptr, p.da.data(), p.o.data(),
                                       s.gamma_o.data(), &p.rstd_o, 1, s.D);
    if (norms_a(s))
        peri::rmsnorm_backward<double>(p.da.data(), nullptr, p.da.data(), p.a.data(),
                                       s.gamma_a.data(), &p.rstd_a, 1, s.D);
    p.g.assign(s.w2.size(), 0);
    peri::linear_backward<double>(nullptr, p.g.data(), nullptr, p.da.data(), p.h.data(),
                                  s.w2.data(), 1, s.H, s.D, peri::Dx::overwrite);
    return p;
}

// ---- random settings ----------------------------------------------------------------------------

struct Shape {
    int D, H;
};
inline constexpr Shape shapes[] = {{2, 5}, {3, 1}, {7, 30}, {16, 64}, {33, 40}, {64, 96}};

enum class Gamma { scalar, per_channel };  // the paper's gamma is a scalar, real models' is not

inline Vec normals(peri::Rng& rng, int n, double scale) {
    Vec v(n);
    for (double& entry : v) entry = scale * rng.normal();
    return v;
}

// between 0.5 and 1.5
inline Vec gammas(peri::Rng& rng, int n, Gamma kind) {
    Vec v(n, 0.5 + rng.uniform());
    if (kind == Gamma::per_channel)
        for (double& entry : v) entry = 0.5 + rng.uniform();
    return v;
}

// Rng(seed, D, H) draws everything, so the seed and the shape name a setting.
inline Setting draw(uint64_t seed, Placement placement, Shape shape, Gamma kind = Gamma::scalar) {
    const int D = shape.D, H = shape.H;
    peri::Rng rng(seed, D, H);
    Setting s;
    s.placement = placement;
    s.D = D;
    s.H = H;
    s.target = static_cast<int>(rng.below(D));
    s.x = normals(rng, D, 3);
    s.w1 = normals(rng, H * D, 1 / std::sqrt(D));
    s.b1 = normals(rng, H, 0.5);
    s.w2 = normals(rng, D * H, 1 / std::sqrt(H));
    s.b2 = normals(rng, D, 0.5);
    s.gamma_x = gammas(rng, D, kind);
    s.gamma_a = gammas(rng, D, kind);
    s.gamma_o = gammas(rng, D, kind);
    return s;
}

// Gives up to three units of h a value between 10^3 and 10^6, whatever the token: what massive
// activations are in trained models (Sun et al., 2024).
inline void make_massive(Setting& s, uint64_t seed) {
    peri::Rng rng(seed, s.D, s.H, 1);
    const uint64_t units = 1 + rng.below(3);
    for (uint64_t i = 0; i < units; i++) s.b1[rng.below(s.H)] = std::pow(10, 3 + 3 * rng.uniform());
}

// W1 and b1, and with them h, times factor
inline void scale_h(Setting& s, double factor) {
    for (double& w : s.w1) w *= factor;
    for (double& b : s.b1) b *= factor;
}

// ---- vectors and the Jacobian of RMSNorm --------------------------------------------------------

inline double dot(const Vec& u, const Vec& v) {
    double sum = 0;
    for (size_t i = 0; i < u.size(); i++) sum += u[i] * v[i];
    return sum;
}

// Euclid's norm of a vector, Frobenius' of a matrix
inline double norm(const Vec& v) { return std::sqrt(dot(v, v)); }

inline double largest(const Vec& v) { return *std::max_element(v.begin(), v.end()); }

// The worse of two errors; a NaN stays, so that !(worst <= tolerance) sees it.
inline double worse(double worst, double error) {
    return std::isnan(worst) || error <= worst ? worst : error;
}

// sqrt(mean a^2 + eps)
inline double rms(const Vec& a, double eps) {
    return std::sqrt(dot(a, a) / static_cast<double>(a.size()) + eps);
}

// Eq. 29, entry by entry:   J[p,q] = gamma_p (delta_pq / r - a_p a_q / (D r^3)),   r = rms(a, eps)
inline Vec jacobian(const Vec& a, const Vec& gamma, double eps) {
    const size_t D = a.size();
    const double r = rms(a, eps);
    Vec J(D * D);
    for (size_t p = 0; p < D; p++)
        for (size_t q = 0; q < D; q++)
            J[p * D + q] =
                gamma[p] * ((p == q) / r - a[p] * a[q] / (static_cast<double>(D) * r * r * r));
    return J;
}

// The same from the kernel: row p is e_p J, the backward of the p-th unit vector.
inline Vec kernel_jacobian(const Vec& a, const Vec& gamma, double eps) {
    const int D = static_cast<int>(a.size());
    Vec units(D * D), rows, J(D * D), rstd(D), y(D * D);
    for (int p = 0; p < D; p++) {
        units[p * D + p] = 1;
        rows.insert(rows.end(), a.begin(), a.end());
    }
    const peri::Threads one(1);  // one row of numbers is no work for two
    peri::reserve_workspace<double>(peri::norm_workspace<double>(D));
    peri::rmsnorm_forward<double>(y.data(), rstd.data(), rows.data(), gamma.data(), D, D, eps);
    peri::rmsnorm_backward<double>(J.data(), nullptr, units.data(), rows.data(), gamma.data(),
                                   rstd.data(), D, D);
    return J;
}

// |J|_2, the root of the largest eigenvalue of M = J^T J, which is the limit of |M^n|^(1/n)
// (Gelfand); n = 2^60 by squaring leaves a factor of D^(1/2n) at most, and needs no luck with a
// start vector.
inline double spectral_norm(const Vec& J, int D) {
    const auto matmul = [D](const Vec& A, const Vec& B) {  // A^T B
        Vec C(D * D);
        for (int k = 0; k < D; k++)
            for (int i = 0; i < D; i++)
                for (int j = 0; j < D; j++) C[i * D + j] += A[k * D + i] * B[k * D + j];
        return C;
    };
    Vec M = matmul(J, J);
    double log_limit = 0;
    for (int k = 0; k <= 60; k++) {
        const double size = norm(M);
        log_limit += std::ldexp(std::log(size), -k);
        for (double& entry : M) entry /= size;
        M = matmul(M, M);  // M is symmetric
    }
    return std::exp(log_limit / 2);
}

// u J, for a row u: what the chain rule of Eq. 22 does with J
inline Vec times(const Vec& u, const Vec& J) {
    const size_t D = u.size();
    Vec v(D);
    for (size_t p = 0; p < D; p++)
        for (size_t q = 0; q < D; q++) v[q] += u[p] * J[p * D + q];
    return v;
}

}  // namespace proposition
