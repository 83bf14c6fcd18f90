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

template <class T>
void peaks() {
    const int n = 1536;
    const auto a = buffer<T>(size_t(n) * n, 1), b = buffer<T>(size_t(n) * n, 2),
               c = buffer<T>(size_t(n) * n, 3);
    linear_tune<T>(n, n, n);
    report("peak: product 1536^3", 2.0 * n * n * n, 0,
           [&] { linear_forward<T>(c.at(), a.at(), b.at(), nullptr, n, n, n); });
    const size_t m = size_t(1) << 25;
    const auto x = buffer<T>(m, 1), y = buffer<T>(m, 2), z = buffer<T>(m, 3);
    report("peak: stream triad of 3 x 2^25", 2.0 * m, 3.0 * sizeof(T) * m,
           [&] { residual_add<T>(z.at(), x.at(), y.at(), 0.5f, m); });
}

struct Shape {
    int B, T_, C, H, F, V;
    int R() const { return B * T_; }
};

template <class T>
void linear(const char* name, int R, int in, int out) {
    const auto x = buffer<T>(size_t(R) * in, 1), w = buffer<T>(size_t(out) * in, 2);
    const auto y = buffer<T>(size_t(R) * out, 3), dx = buffer<T>(size_t(R) * in, 4);
    const auto dw = buffer<float>(size_t(out) * in, 5);
    linear_tune<T>(R, in, out);
    const double flops = 2.0 * R * in * out;
    const double of_x = double(R) * in, of_y = double(R) * out, of_w = double(in) * out;
    const double bytes = sizeof(T) * (of_x + of_y + of_w);
    const std::string title = std::string("linear ") + name;
    report((title + " forward").c_str(), flops, bytes,
           [&] { linear_forward<T>(y.at(), x.at(), w.at(), nullptr, R, in, out); });
    report((title + " backward, dx").c_str(), flops, bytes, [&] {
        linear_backward<T>(dx.at(), nullptr, nullptr, y.at(), x.at(), w.at(), R, in, out,
                           Dx::overwrite);
    });
    report((title + " backward, dw").c_str(), flops, sizeof(T) * (of_x + of_y) + 8 * of_w, [&] {
        linear_backward<T>(nullptr, dw.at(), nullptr, y.at(), x.at(), w.at(), R, in, out,
                           Dx::overwrite);
    });
}

template <class T>
void attention(const Shape& s) {
    const int D = s.C / s.H;
    const size_t n = size_t(s.R()) * s.C;
    const AttentionShape shape = {s.B, s.T_, s.T_, 0, s.H, s.H, D};
    const auto q = buffer<T>(n, 1), k = buffer<T>(n, 2), v = buffer<T>(n, 3), out = buffer<T>(n, 4);
    const auto dout = buffer<T>(n, 5), dq = buffer<T>(n, 6), dk = buffer<T>(n, 7);
    const auto dv = buffer<T>(n, 8);
    const auto lse = buffer<float>(size_t(s.R()) * s.H, 9);
    const double seen = double(s.B) * s.H * s.T_ * (s.T_ + 1) / 2;  // causal
    report("attention forward", 4 * seen * D, 4.0 * sizeof(T) * n, [&] {
        attention_forward<T>(out.at(), lse.at(), q.at(), k.at(), v.at(), nullptr, shape);
    });
    report("attention backward", 10 * seen * D, 8.0 * sizeof(T) * n, [&] {
        attention_backward<T>(dq.at(), dk.at(), dv.at(), dout.at(), out.at(), q.at(), k.at(),
                              v.at(), lse.at(), nullptr, shape);
    });
    const auto table = buffer<float>(size_t(s.T_) * D, 10);
    report("rope forward", 0, 2.0 * sizeof(T) * n,
           [&] { rope_forward<T>(out.at(), q.at(), table.at(), s.B, s.T_, s.H, D, 0); });
}

template <class T>
void elementwise(const Shape& s) {
    const int R = s.R();
    const size_t n = size_t(R) * s.C, m = size_t(R) * s.F;
    const auto x = buffer<T>(m, 1), y = buffer<T>(m, 2), z = buffer<T>(m, 3), u = buffer<T>(m, 4);
    const auto v = buffer<T>(m, 5);
    const auto gamma = buffer<float>(s.C, 6), rstd = buffer<float>(R, 7),
               dgamma = buffer<float>(s.C, 8);
    report("rmsnorm forward", 0, 2.0 * sizeof(T) * n,
           [&] { rmsnorm_forward<T>(y.at(), rstd.at(), x.at(), gamma.at(), R, s.C, 1e-5f); });
    report("rmsnorm backward", 0, 3.0 * sizeof(T) * n, [&] {
        rmsnorm_backward<T>(z.at(), dgamma.at(), y.at(), x.at(), gamma.at(), rstd.at(), R, s.C);
    });
    report("residual_add", 0, 3.0 * sizeof(T) * n,
           [&] { residual_add<T>(z.at(), x.at(), y.at(), 1.f, n); });
    report("swiglu forward", 0, 3.0 * sizeof(T) * m,
           [&] { swiglu_forward<T>(z.at(), x.at(), y.at(), m); });
    report("swiglu backward", 0, 5.0 * sizeof(T) * m,
           [&] { swiglu_backward<T>(u.at(), v.at(), z.at(), x.at(), y.at(), m); });
}

template <class T>
void head(const Shape& s) {
    const int R = s.R();
    const size_t n = size_t(R) * s.C, m = size_t(s.V) * s.C;
    const auto x = buffer<T>(n, 1), w = buffer<T>(m, 2), dx = buffer<T>(n, 3);
    const auto dw = buffer<float>(m, 4);
    const std::vector<int> labels(R, 1);
    head_loss_tune<T>(R, s.C, s.V);
    double loss = 0;
    report("head_loss", 6.0 * n * s.V, 0, [&] {
        head_loss<T>(&loss, dx.at(), dw.at(), x.at(), w.at(), labels.data(), R, s.C, s.V, R, 0);
    });
}

template <class T>
void optimizer(const Shape& s) {
    const size_t n = size_t(s.C) * s.C * 64;
    const bool masters = has_masters<T>;
    const auto w = buffer<T>(n, 1);
    const auto master = buffer<float>(masters ? n : 1, 2), m = buffer<float>(n, 3);
    const auto g = buffer<float>(n, 4), one = buffer<float>(1, 5);
    const Arena<float> v(n * sizeof(float));  // moments that are not negative
    const double bytes = 20 + 2 * sizeof(T) + (masters ? 8 - sizeof(T) : 0.0);
    report("adamw, 64 C^2 numbers", 0, bytes * n, [&] {
        adamw_update<T>(w.at(), masters ? master.at() : nullptr, m.at(), v.at(), g.at(), one.at(),
                        n, {1e-3, 0.9, 0.95, 1e-8, 0.1, 10});
    });
}

template <class T>
void report_all(const char* precision, const Shape& s) {
    std::printf("%s\nB %d, T %d, C %d, H %d, F %d, V %d, %s\n", backend_description().c_str(), s.B,
                s.T_, s.C, s.H, s.F, s.V, precision);
    const AttentionShape shape = {s.B, s.T_, s.T_, 0, s.H, s.H, s.C / s.H};
    reserve_workspace<T>(
        std::max({attention_workspace<T>(shape), head_loss_workspace<T>(s.R(), s.V),
                  norm_workspace<T>(s.C), linear_workspace<T>()}));
    peaks<T>();
    linear<T>("q, k, v, o", s.R(), s.C, s.C);
    linear<T>("gate, up", s.R(), s.C, s.F);
    linear<T>("down", s.R(), s.F, s.C);
    attention<T>(s);
    elementwise<T>(s);
    head<T>(s);
    optimizer<T>(s);
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
