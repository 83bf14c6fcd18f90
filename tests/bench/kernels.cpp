// Seconds, GFLOP/s and GB/s of each kernel at the shapes of one model beside the machine's own peaks.
// Usage: kernels [fp32|bf16 [B T C H F V]] (default: fp32 and `small`, 16 128 128 4 384 256)
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "device.h"
#include "kernels.h"
#include "random.h"

using namespace peri;

namespace {

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// Median seconds of a call: at least 7 calls and a quarter of a second of them.
double seconds(const std::function<void()>& call) {
    call();
    std::vector<double> times;
    const double start = now();
    while (times.size() < 7 || now() - start < 0.25) {
        const double before = now();
        call();
        times.push_back(now() - before);
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    return times[times.size() / 2];
}

template <class E>
Arena<E> buffer(size_t n, uint64_t seed) {
    Rng rng(seed);
    std::vector<E> values(n);
    for (E& v : values) v = static_cast<float>(rng.normal());
    Arena<E> arena(n * sizeof(E));
    device_upload<E>(arena.at(), values.data(), n * sizeof(E));
    return arena;
}

void report(const char* name, double flops, double bytes, const std::function<void()>& call) {
    const double s = seconds(call);
    std::printf("%-34s %9.3f ms %8.1f GFLOP/s %8.1f GB/s\n", name, s * 1e3, flops / s * 1e-9,
                bytes / s * 1e-9);
    std::fflush(stdout);
}

template <class Real>
void peaks() {
    const int n = 1536;
    const auto a = buffer<Real>(size_t(n) * n, 1), b = buffer<Real>(size_t(n) * n, 2),
               c = buffer<Real>(size_t(n) * n, 3);
    linear_tune<Real>(n, n, n);
    report("peak: product 1536^3", 2.0 * n * n * n, 0,
           [&] { linear_forward<Real>(c.at(), a.at(), b.at(), nullptr, n, n, n); });
    const size_t m = size_t(1) << 25;
    const auto x = buffer<Real>(m, 1), y = buffer<Real>(m, 2), z = buffer<Real>(m, 3);
    report("peak: stream triad of 3 x 2^25", 2.0 * m, 3.0 * sizeof(Real) * m,
           [&] { residual_add<Real>(z.at(), x.at(), y.at(), 0.5f, m); });
}

struct Shape {
    int B, T, C, H, F, V;
    int R() const { return B * T; }
};

template <class Real>
void linear(const char* name, int R, int in, int out) {
    const auto x = buffer<Real>(size_t(R) * in, 1), w = buffer<Real>(size_t(out) * in, 2);
    const auto y = buffer<Real>(size_t(R) * out, 3), dx = buffer<Real>(size_t(R) * in, 4);
    const auto dw = buffer<float>(size_t(out) * in, 5);
    linear_tune<Real>(R, in, out);
    const double flops = 2.0 * R * in * out;
    const double of_x = double(R) * in, of_y = double(R) * out, of_w = double(in) * out;
    const double bytes = sizeof(Real) * (of_x + of_y + of_w);
    const std::string title = std::string("linear ") + name;
    report((title + " forward").c_str(), flops, bytes,
           [&] { linear_forward<Real>(y.at(), x.at(), w.at(), nullptr, R, in, out); });
    report((title + " backward, dx").c_str(), flops, bytes, [&] {
        linear_backward<Real>(dx.at(), nullptr, nullptr, y.at(), x.at(), w.at(), R, in, out,
                              Dx::overwrite);
    });
    report((title + " backward, dw").c_str(), flops, sizeof(Real) * (of_x + of_y) + 8 * of_w, [&] {
        linear_backward<Real>(nullptr, dw.at(), nullptr, y.at(), x.at(), w.at(), R, in, out,
                              Dx::overwrite);
    });
}

template <class Real>
void attention(const Shape& s) {
    const int D = s.C / s.H;
    const size_t n = size_t(s.R()) * s.C;
    const AttentionShape shape = {s.B, s.T, s.T, 0, s.H, s.H, D};
    const auto q = buffer<Real>(n, 1), k = buffer<Real>(n, 2), v = buffer<Real>(n, 3),
               out = buffer<Real>(n, 4);
    const auto dout = buffer<Real>(n, 5), dq = buffer<Real>(n, 6), dk = buffer<Real>(n, 7);
    const auto dv = buffer<Real>(n, 8);
    const auto lse = buffer<float>(size_t(s.R()) * s.H, 9);
    const double seen = double(s.B) * s.H * s.T * (s.T + 1) / 2;  // causal
    report("attention forward", 4 * seen * D, 4.0 * sizeof(Real) * n, [&] {
        attention_forward<Real>(out.at(), lse.at(), q.at(), k.at(), v.at(), nullptr, shape);
    });
    report("attention backward", 10 * seen * D, 8.0 * sizeof(Real) * n, [&] {
        attention_backward<Real>(dq.at(), dk.at(), dv.at(), dout.at(), out.at(), q.at(), k.at(),
                                 v.at(), lse.at(), nullptr, shape);
    });
    const auto table = buffer<float>(size_t(s.T) * D, 10);
    report("rope forward", 0, 2.0 * sizeof(Real) * n,
           [&] { rope_forward<Real>(out.at(), q.at(), table.at(), s.B, s.T, s.H, D, 0); });
}

template <class Real>
void elementwise(const Shape& s) {
    const int R = s.R();
    const size_t n = size_t(R) * s.C, m = size_t(R) * s.F;
    const auto x = buffer<Real>(m, 1), y = buffer<Real>(m, 2), z = buffer<Real>(m, 3),
               u = buffer<Real>(m, 4);
    const auto v = buffer<Real>(m, 5);
    const auto gamma = buffer<float>(s.C, 6), rstd = buffer<float>(R, 7),
               dgamma = buffer<float>(s.C, 8);
    report("rmsnorm forward", 0, 2.0 * sizeof(Real) * n,
           [&] { rmsnorm_forward<Real>(y.at(), rstd.at(), x.at(), gamma.at(), R, s.C, 1e-5f); });
    report("rmsnorm backward", 0, 3.0 * sizeof(Real) * n, [&] {
        rmsnorm_backward<Real>(z.at(), dgamma.at(), y.at(), x.at(), gamma.at(), rstd.at(), R, s.C);
    });
    report("residual_add", 0, 3.0 * sizeof(Real) * n,
           [&] { residual_add<Real>(z.at(), x.at(), y.at(), 1.f, n); });
    report("swiglu forward", 0, 3.0 * sizeof(Real) * m,
           [&] { swiglu_forward<Real>(z.at(), x.at(), y.at(), m); });
    report("swiglu backward", 0, 5.0 * sizeof(Real) * m,
           [&] { swiglu_backward<Real>(u.at(), v.at(), z.at(), x.at(), y.at(), m); });
}

template <class Real>
void head(const Shape& s) {
    const int R = s.R();
    const size_t n = size_t(R) * s.C, m = size_t(s.V) * s.C;
    const auto x = buffer<Real>(n, 1), w = buffer<Real>(m, 2), dx = buffer<Real>(n, 3);
    const auto dw = buffer<float>(m, 4);
    const std::vector<int> targets(R, 1);
    head_loss_tune<Real>(R, s.C, s.V);
    double loss = 0;
    report("head_loss", 6.0 * n * s.V, 0, [&] {
        head_loss<Real>(&loss, dx.at(), dw.at(), x.at(), w.at(), targets.data(), R, s.C, s.V, R, 0);
    });
}

template <class Real>
void optimizer(const Shape& s) {
    const size_t n = size_t(s.C) * s.C * 64;
    const bool masters = has_masters<Real>;
    const auto w = buffer<Real>(n, 1);
    const auto master = buffer<float>(masters ? n : 1, 2), m = buffer<float>(n, 3);
    const auto g = buffer<float>(n, 4), one = buffer<float>(1, 5);
    const Arena<float> v(n * sizeof(float));  // moments that are not negative
    const double bytes = 20 + 2 * sizeof(Real) + (masters ? 8 - sizeof(Real) : 0.0);
    report("adamw, 64 C^2 numbers", 0, bytes * n, [&] {
        adamw_update<Real>(w.at(), masters ? master.at() : nullptr, m.at(), v.at(), g.at(),
                           one.at(), n, {1e-3, 0.9, 0.95, 1e-8, 0.1, 10});
    });
}

template <class Real>
void report_all(const char* precision, const Shape& s) {
    std::printf("%s\nB %d, T %d, C %d, H %d, F %d, V %d, %s\n", backend_description().c_str(), s.B,
                s.T, s.C, s.H, s.F, s.V, precision);
    const AttentionShape shape = {s.B, s.T, s.T, 0, s.H, s.H, s.C / s.H};
    reserve_workspace<Real>(
        std::max({attention_workspace<Real>(shape), head_loss_workspace<Real>(s.R(), s.V),
                  norm_workspace<Real>(s.C), linear_workspace<Real>()}));
    peaks<Real>();
    linear<Real>("q, k, v, o", s.R(), s.C, s.C);
    linear<Real>("gate, up", s.R(), s.C, s.F);
    linear<Real>("down", s.R(), s.F, s.C);
    attention<Real>(s);
    elementwise<Real>(s);
    head<Real>(s);
    optimizer<Real>(s);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string precision = argc > 1 ? argv[1] : "fp32";
    if ((precision != "fp32" && precision != "bf16") || (argc > 2 && argc != 8)) {
        std::fprintf(stderr, "usage: kernels [fp32|bf16 [B T C H F V]]\n");
        return 2;
    }
    int s[] = {16, 128, 128, 4, 384, 256};
    for (int i = 2; i < argc; i++) s[i - 2] = std::atoi(argv[i]);
    const Shape shape = {s[0], s[1], s[2], s[3], s[4], s[5]};
    (precision == "fp32" ? report_all<float> : report_all<bf16>)(precision.c_str(), shape);
}
