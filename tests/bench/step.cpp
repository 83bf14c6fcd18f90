// The training step of whole models, and its distance to the limit:
//
//   limit time = sum over the step's linear products of the best library's time for that product alone
//                (cold buffers, the same threads) + causal attention's operations at the rate of the
//                largest product;   distance = limit time / step time, 1 being out of reach
//
// Usage: step SIZE B T V [placement ...]        e.g. step small 16 128 256 peri pre
#include <omp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/product.h"
#include "optimizer.h"
#include "random.h"

using namespace peri;

namespace {

double now() {
    const auto time = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(time).count();
}

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
}

// ---- the limit ----------------------------------------------------------------------------------

struct Product {
    Op op_a, op_b;
    int M, N, K;
    bool add;

    std::string with(const char* library) const {
        return std::string(op_a == Op::none ? "n" : "t") + (op_b == Op::none ? "n " : "t ") +
               std::to_string(M) + " " + std::to_string(N) + " " + std::to_string(K) +
               (add ? " add " : " set ") + library + " 1\n";
    }
    double operations() const { return 2.0 * M * N * K; }
    bool operator<(const Product& o) const { return with("") < o.with(""); }
};

// Median seconds of the faster library; every call works on other buffers, of 256 MiB in all, so that
// none finds its operands in cache.
double best_seconds(const Product& p) {
    const size_t a = size_t(p.M) * p.K, b = size_t(p.K) * p.N, c = size_t(p.M) * p.N;
    const size_t copies = std::max<size_t>(2, (size_t(64) << 20) / (a + b + c));
    std::vector<float> numbers(copies * (a + b + c), 0.5f);
    double best = INFINITY;
    for (const char* library : {"openblas", "onednn"}) {
        if (set_product_choices(p.with(library)) != "") continue;  // not there
        std::vector<double> times;
        const double start = now();
        for (size_t i = 0; times.size() < 6 || (now() - start < 0.1 && times.size() < 50); i++) {
            float* const at = numbers.data() + i % copies * (a + b + c);
            const double before = now();
            product(at, at + c, p.op_a, at + c + a, p.op_b, p.M, p.N, p.K, p.add);
            times.push_back(now() - before);
        }
        times.erase(times.begin());
        best = std::min(best, median(times));
    }
    set_product_choices("");
    return best;
}

struct Limit {
    double linear, attention, peak;  // seconds, seconds, operations a second
    double total() const { return linear + attention; }
};

Limit limit_of(const ModelConfig& config, int B, int T) {
    const TensorTable table = tensor_table(config);
    const int R = B * T;
    std::map<Product, int> products;  // and how often a step computes each
    for (int id = 0; id < static_cast<int>(table.rows.size()); id++) {
        const Tensor& w = table.rows[id];
        if (!w.is_matrix() || id == table.embedding) continue;
        const int O = id == table.head ? config.vocab : w.rows, C = w.cols;
        products[{Op::none, Op::transpose, R, O, C, false}]++;
        products[{Op::none, Op::none, R, C, O, false}]++;
        products[{Op::transpose, Op::none, O, C, R, true}]++;
    }
    Limit limit = {0, 0, 0};
    for (const auto& [p, count] : products) {
        const double seconds = best_seconds(p);
        limit.linear += count * seconds;
        limit.peak = std::max(limit.peak, p.operations() / seconds);
    }
    const Product large = {Op::none, Op::none, 2048, 2048, 2048, false};
    limit.peak = std::max(limit.peak, large.operations() / best_seconds(large));
    // forward 2 products, backward 5, over the T (T + 1) / 2 pairs that see each other
    const double pairs = double(B) * T * (T + 1) / 2;
    limit.attention = config.layers * 7 * 2 * pairs * config.width / limit.peak;
    return limit;
}

// ---- the step -----------------------------------------------------------------------------------

struct Measured {
    double seconds, page_faults, idle;
};

Measured measure(const ModelConfig& config, int B, int T) {
    Model<float> model(config, B, T);
    Optimizer<float> optimizer(model, {});
    model.tune();
    model.initialise(1);
    Rng rng(1);
    Batch batch{B, T, {}, {}};
    for (int i = 0; i < B * T; i++) {
        batch.tokens.push_back(static_cast<int>(rng.below(config.vocab)));
        batch.labels.push_back(static_cast<int>(rng.below(config.vocab)));
    }
    std::vector<double> times;
    rusage before{}, after{};
    const double start = now();
    double first_counted = 0;
    while (times.size() < 4 || (now() - start < 20 && times.size() < 40)) {
        if (times.size() == 1) {  // the first step touches memory for the first time
            getrusage(RUSAGE_SELF, &before);
            first_counted = now();
        }
        const double step = now();
        model.load(batch);
        model.zero_loss();
        model.zero_gradients();
        model.forward();
        model.backward(B * T);
        optimizer.step(1e-4);
        if (!(model.loss() > 0)) std::exit(1);
        times.push_back(now() - step);
    }
    getrusage(RUSAGE_SELF, &after);
    const double wall = now() - first_counted, steps = static_cast<double>(times.size() - 1);
    const auto cpu = [](const rusage& r) {
        return r.ru_utime.tv_sec + r.ru_stime.tv_sec +
               1e-6 * (r.ru_utime.tv_usec + r.ru_stime.tv_usec);
    };
    times.erase(times.begin());
    set_product_choices("");
    return {median(times), (after.ru_minflt - before.ru_minflt) / steps,
            1 - (cpu(after) - cpu(before)) / (wall * get_threads())};
}

ModelConfig config_of(const std::string& size_name, int vocab, const std::string& norm) {
    ModelConfig c = model_of(find_size(size_name));
    c.norm = norm;
    c.vocab = vocab;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

// Threads that wait must sleep, or their idle time would count as work: libgomp reads this when it is
// loaded, so the program starts once more.
void let_idle_threads_sleep(char** argv) {
    if (std::getenv("OMP_WAIT_POLICY")) return;
    setenv("OMP_WAIT_POLICY", "passive", 1);
    execv("/proc/self/exe", argv);
}

}  // namespace

int main(int argc, char** argv) {
    let_idle_threads_sleep(argv);
    if (argc < 5) {
        std::fprintf(stderr, "usage: step SIZE B T V [placement ...]\n");
        return 2;
    }
    const int B = std::atoi(argv[2]), T = std::atoi(argv[3]), V = std::atoi(argv[4]);
    std::vector<std::string> norms(argv + 5, argv + argc);
    if (norms.empty()) norms = {"peri"};
    const Limit limit = limit_of(config_of(argv[1], V, norms[0]), B, T);
    std::printf(
        "%s\n%s, %d x %d tokens, vocabulary %d, fp32: limit %.3f s (linear %.3f, attention %.3f "
        "at %.0f GFLOP/s)\n",
        backend_description().c_str(), argv[1], B, T, V, limit.total(), limit.linear,
        limit.attention, limit.peak * 1e-9);
    for (const std::string& norm : norms) {
        const Measured m = measure(config_of(argv[1], V, norm), B, T);
        std::printf(
            "%-12s %8.3f s a step %8.0f tokens/s   %.2f of the limit   %5.0f page faults a "
            "step   %3.0f %% idle\n",
            norm.c_str(), m.seconds, B * T / m.seconds, limit.total() / m.seconds, m.page_faults,
            100 * m.idle);
        std::fflush(stdout);
    }
}
