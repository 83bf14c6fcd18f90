// How the step of `small` with Peri-LN scales: tokens a second, and memory at most beside what
// --dry-run says, as threads, batch, sequence, width, depth and vocabulary change one at a time.
//
// Usage: scaling
#include <initializer_list>

#include "measure.h"

using namespace peri;

namespace {

struct Setting {
    int threads, B, T, width, layers, V;
};

void report(const Setting& s) {
    set_threads(s.threads);
    ModelConfig c = model_of(find_size("small"));
    c.layers = s.layers;
    c.width = s.width;
    c.ffn = 3 * s.width;
    c.vocab = s.V;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    Steps<float> steps(c, s.B, s.T);
    steps.run(3, 3);
    const TensorTable table = tensor_table(c);
    // 6 operations a parameter and token in the products, and attention's
    const double operations =
        6.0 * (table.parameters() - double(s.V) * s.width) + 6.0 * s.layers * s.width * (s.T + 1);
    std::printf("%7d %6d %6d %6d %6d %7d %9.3f s %9.0f %10.1f %9.0f MiB %9.0f MiB\n", s.threads,
                s.B, s.T, s.width, s.layers, s.V, steps.seconds(), s.B * s.T / steps.seconds(),
                operations * s.B * s.T / steps.seconds() * 1e-9,
                static_cast<double>(steps.peak_memory()) / (1 << 20),
                static_cast<double>(steps.planned_memory()) / (1 << 20));
    std::fflush(stdout);
}

}  // namespace

int main() {
    const int all = get_threads();
    const Setting base = {all, 16, 128, 128, 12, 256};
    std::printf(
        "%s\nthreads  batch    seq  width layers   vocab      step  tokens/s  GFLOP/s"
        "    memory    planned\n",
        backend_description().c_str());
    const auto sweep = [&](int Setting::*what, std::initializer_list<int> values) {
        std::printf("\n");
        for (const int value : values) {
            Setting s = base;
            s.*what = value;
            report(s);
        }
    };
    std::printf("\n");
    for (int n = 1; n < all; n *= 2) report({n, 16, 128, 128, 12, 256});
    report(base);
    sweep(&Setting::B, {1, 4, 16, 64});
    sweep(&Setting::T, {32, 128, 512, 2048});
    sweep(&Setting::width, {64, 128, 256, 512});
    sweep(&Setting::layers, {3, 6, 12, 24});
    sweep(&Setting::V, {256, 4096, 32768, 100277});
}
