// Seconds, GFLOP/s and GB/s of each kernel at the shapes of one model, in float, beside the
// machine's own peaks. Usage: kernels [B T C H F V] (default: `small`, 16 128 128 4 384 256).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "cpu/product.h"
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

Arena<float> buffer(size_t n, uint64_t seed) {
    Rng rng(seed);
    std::vector<float> values(n);
    for (float& v : values) v = static_cast<float>(rng.normal());
    Arena<float> arena(n * sizeof(float));
    device_upload<float>(arena.at(), values.data(), n * sizeof(float));
    return arena;
}

void report(const char* name, double flops, double bytes, const std::function<void()>& call) {
    const double s = seconds(call);
    std::printf("%-34s %9.3f ms %8.1f GFLOP/s %8.1f GB/s\n", name, s * 1e3, flops / s * 1e-9,
                bytes / s * 1e-9);
}

void peaks() {
    const int n = 1536;
    const auto a = buffer(size_t(n) * n, 1), b = buffer(size_t(n) * n, 2),
               c = buffer(size_t(n) * n, 3);
    report("peak: product 1536^3", 2.0 * n * n * n, 0,
           [&] { product(c.at(), a.at(), Op::none, b.at(), Op::none, n, n, n, false, nullptr); });
    const size_t m = size_t(1) << 25;
    const auto x = buffer(m, 1), y = buffer(m, 2), z = buffer(m, 3);
    report("peak: stream triad 3 x 128 MiB", 2.0 * m, 12.0 * m,
           [&] { residual_add<float>(z.at(), x.at(), y.at(), 0.5f, m); });
}

}  // namespace

int main(int argc, char** argv) {
    int s[] = {16, 128, 128, 4, 384, 256};
    for (int i = 1; i < std::min(argc, 7); i++) s[i - 1] = std::atoi(argv[i]);
    const int B = s[0], T = s[1], C = s[2], H = s[3], F = s[4], V = s[5];
    const int R = B * T, D = C / H;
    const double rc = double(R) * C, rf = double(R) * F;
    const AttentionShape shape = {B, T, T, 0, H, H, D};
    std::printf("%s\nB %d, T %d, C %d, H %d, F %d, V %d\n", backend_description().c_str(), B, T, C,
                H, F, V);
    reserve_workspace<float>(
        std::max({attention_workspace<float>(shape), head_loss_workspace<float>(R, V),
                  norm_workspace<float>(C), linear_workspace<float>()}));
    peaks();
    const size_t most = std::max(R, V) * size_t(std::max(C, F));
    const auto x = buffer(most, 1), y = buffer(most, 2), dy = buffer(most, 3), dx = buffer(most, 4);
    const auto w = buffer(size_t(std::max(V, F)) * std::max(C, F), 5);
    const auto dw = buffer(size_t(std::max(V, F)) * std::max(C, F), 6);
    const auto gamma = buffer(C, 7), rstd = buffer(R, 8), lse = buffer(size_t(R) * H, 9);
    const auto table = buffer(size_t(T) * D, 10), k = buffer(R * size_t(C), 11);
    const auto v = buffer(R * size_t(C), 12), dk = buffer(R * size_t(C), 13);
    const auto dv = buffer(R * size_t(C), 14);

    const auto linear = [&](const char* name, int in, int out) {
        const double flops = 2.0 * R * in * out,
                     bytes = 4.0 * (R * double(in + out) + in * double(out));
        char title[64];
        std::snprintf(title, sizeof title, "linear %s forward", name);
        report(title, flops, bytes,
               [&] { linear_forward<float>(y.at(), x.at(), w.at(), nullptr, R, in, out); });
        std::snprintf(title, sizeof title, "linear %s backward, dx", name);
        report(title, flops, bytes, [&] {
            linear_backward<float>(dx.at(), nullptr, nullptr, dy.at(), x.at(), w.at(), R, in, out,
                                   Dx::overwrite);
        });
        std::snprintf(title, sizeof title, "linear %s backward, dw", name);
        report(title, flops, bytes, [&] {
            linear_backward<float>(nullptr, dw.at(), nullptr, dy.at(), x.at(), w.at(), R, in, out,
                                   Dx::overwrite);
        });
    };
    linear("q, k, v, o", C, C);
    linear("gate, up", C, F);
    linear("down", F, C);
    const double scores = double(B) * H * T * (T + 1) / 2;  // causal
    report("attention forward", 4 * scores * D, 16 * rc, [&] {
        attention_forward<float>(y.at(), lse.at(), x.at(), k.at(), v.at(), nullptr, shape);
    });
    report("attention backward", 10 * scores * D, 32 * rc, [&] {
        attention_backward<float>(dx.at(), dk.at(), dv.at(), dy.at(), y.at(), x.at(), k.at(),
                                  v.at(), lse.at(), nullptr, shape);
    });
    report("rmsnorm forward", 0, 8 * rc,
           [&] { rmsnorm_forward<float>(y.at(), rstd.at(), x.at(), gamma.at(), R, C, 1e-5f); });
    report("rmsnorm backward", 0, 12 * rc, [&] {
        rmsnorm_backward<float>(dx.at(), dw.at(), dy.at(), x.at(), gamma.at(), rstd.at(), R, C);
    });
    report("rope forward", 0, 8 * rc,
           [&] { rope_forward<float>(y.at(), x.at(), table.at(), B, T, H, D, 0); });
    report("swiglu forward", 0, 12 * rf,
           [&] { swiglu_forward<float>(y.at(), x.at(), dy.at(), size_t(R) * F); });
    report("swiglu backward", 0, 20 * rf, [&] {
        swiglu_backward<float>(dx.at(), y.at(), dy.at(), x.at(), dy.at(), size_t(R) * F);
    });
    report("residual_add", 0, 12 * rc,
           [&] { residual_add<float>(y.at(), x.at(), dy.at(), 1.f, size_t(R) * C); });
    const std::vector<int> labels(R, 1);
    double loss = 0;
    report("head_loss", 6.0 * rc * V, 0, [&] {
        head_loss<float>(&loss, dx.at(), dw.at(), x.at(), w.at(), labels.data(), R, C, V, R, 0);
    });
    const size_t n = size_t(C) * C * 64;
    const auto p = buffer(n, 1), m = buffer(n, 2), g = buffer(n, 4);
    const auto one = buffer(1, 5);
    const Arena<float> second(n * sizeof(float));  // moments that are not negative
    report("adamw, 64 C^2 numbers", 0, 28.0 * n, [&] {
        adamw_update<float>(p.at(), nullptr, m.at(), second.at(), g.at(), one.at(), n,
                            {1e-3, 0.9, 0.95, 1e-8, 0.1, 10});
    });
}
