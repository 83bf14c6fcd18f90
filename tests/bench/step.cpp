// The training step of whole models, and its distance to the limit:
//
//   limit time = sum over the step's linear products of the best library's time for that product
//                alone (cold buffers, the same threads) + causal attention's operations at the rate
//                of the largest product;   distance = limit time / step time, 1 being out of reach
//
// The limit and the steps are measured in turn, a round each: machines do not keep their speed. One
// model after the other, so that the largest alone needs memory; what is told of one beside another
// is how their distances compare. Outside products: what of a step is not the linear products' limit.
//
// Usage: step PRECISION SIZE B T V [placement ...]        e.g. step fp32 small 16 128 256 peri pre
#include <map>

#include "measure.h"

using namespace peri;

namespace {

// ---- the limit ----------------------------------------------------------------------------------

struct Product {
    Op op_a, op_b;
    int M, N, K;
    bool add, into_accum;  // the result is Accum<Real>, not Real

    std::string with(const std::string& types, const char* library) const {
        return types + " " + (op_a == Op::none ? "n" : "t") + (op_b == Op::none ? "n " : "t ") +
               std::to_string(M) + " " + std::to_string(N) + " " + std::to_string(K) +
               (add ? " add " : " set ") + library + " 1\n";
    }
    double operations() const { return 2.0 * M * N * K; }
    bool operator<(const Product& o) const { return with("", "") < o.with("", ""); }
};

// Median seconds of the faster library; every call works on other buffers, of 256 MiB
// in all, so that none finds its operands in cache (a product that is as large by itself, the same).
template <class C, class Real>
double best_seconds(const Product& p) {
    const std::string types = sizeof(Real) == 4 ? "fp32" : sizeof(C) == 4 ? "bf16>fp32" : "bf16";
    const size_t a = size_t(p.M) * p.K, b = size_t(p.K) * p.N, c = size_t(p.M) * p.N;
    const size_t copies = 1 + (size_t(64) << 20) / (a + b + c);
    const std::vector<Real> inputs(copies * (a + b), Real(0.5f));
    std::vector<C> outputs(copies * c, C(0.5f));
    std::vector<char> scratch(matmul_scratch<Real>());
    double best = INFINITY;
    for (const char* library : {"openblas", "onednn"}) {
        if (set_matmul_choices(p.with(types, library)) != "") continue;  // not there
        std::vector<double> times;
        const double start = now();
        for (size_t i = 0; times.size() < 3 || now() - start < 0.05; i++) {
            const Real* const at = inputs.data() + i % copies * (a + b);
            const double before = now();
            matmul(outputs.data() + i % copies * c, at, p.op_a, at + a, p.op_b, p.M, p.N, p.K,
                   p.add, scratch.data());
            times.push_back(now() - before);
        }
        times.erase(times.begin());
        best = std::min(best, median(times));
    }
    return best;
}

struct Limit {
    double linear, attention, peak;  // seconds, seconds, operations a second
    double total() const { return linear + attention; }
};

template <class Real>
Limit limit_of(const ModelConfig& config, int B, int T) {
    const TensorTable table = tensor_table(config);
    const int R = B * T;
    const std::string choices = matmul_choices();
    std::map<Product, int> products;  // and how often a step computes each
    for (int id = 0; id < static_cast<int>(table.rows.size()); id++) {
        const Tensor& w = table.rows[id];
        if (!w.is_matrix() || id == table.embedding) continue;
        const bool head = id == table.head;
        const int O = head ? config.vocab : w.rows, C = w.cols;
        products[{Op::none, Op::transpose, R, O, C, false, head}]++;
        products[{Op::none, Op::none, R, C, O, false, false}]++;
        products[{Op::transpose, Op::none, O, C, R, true, true}]++;
    }
    Limit limit = {0, 0, 0};
    for (const auto& [p, count] : products) {
        const double seconds =
            p.into_accum ? best_seconds<Accum<Real>, Real>(p) : best_seconds<Real, Real>(p);
        limit.linear += count * seconds;
        limit.peak = std::max(limit.peak, p.operations() / seconds);
    }
    const Product large = {Op::none, Op::none, 2048, 2048, 2048, false, false};
    limit.peak = std::max(limit.peak, large.operations() / best_seconds<Real, Real>(large));
    set_matmul_choices(choices);
    // forward 2 products, backward 5, over the T (T + 1) / 2 pairs that see each other
    const double pairs = double(B) * T * (T + 1) / 2;
    limit.attention = config.layers * 7 * 2 * pairs * config.width / limit.peak;
    return limit;
}

// The median distance of one placement's step, whose line is printed beside `first`, the distance
// of the first one (0: this is the first).
template <class Real>
double report(const ModelConfig& config, int B, int T, double first) {
    constexpr int rounds = 3;
    Steps<Real> steps(config, B, T);
    std::vector<double> distances, outside;
    Limit limit;
    for (int round = 0; round < rounds; round++) {
        limit = limit_of<Real>(config, B, T);
        steps.run(1, 2);
        distances.push_back(limit.total() / steps.seconds_of_latest_run());
        outside.push_back(1 - limit.linear / steps.seconds_of_latest_run());
    }
    const double distance = median(distances), seconds = steps.seconds();
    const auto mib = [](size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    if (first == 0)
        std::printf("limit %.3f s: linear products %.3f, attention %.3f at %.0f GFLOP/s\n",
                    limit.total(), limit.linear, limit.attention, limit.peak * 1e-9);
    std::printf(
        "%-10s %7.3f s a step (%.3f of the first) %7.0f tokens/s  %.2f of the limit  "
        "%2.0f %% outside products  threads idle %s %%  %3.0f page faults a step  %5.0f MiB "
        "(planned %5.0f)\n",
        config.norm.c_str(), seconds, first == 0 ? 1 : first / distance, B * T / seconds, distance,
        100 * median(outside), steps.idle().c_str(), steps.page_faults(), mib(steps.peak_memory()),
        mib(steps.planned_memory()));
    std::fflush(stdout);
    return distance;
}

template <class Real>
void report_all(const std::string& precision, const std::string& size, int B, int T, int V,
                const std::vector<std::string>& norms) {
    std::printf("%s\n%s, %d x %d tokens, vocabulary %d, %s: ", backend_description().c_str(),
                size.c_str(), B, T, V, precision.c_str());
    double first = 0;
    for (const std::string& norm : norms) {
        const double distance = report<Real>(config_of(size, V, norm), B, T, first);
        if (first == 0) first = distance;
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::string precision = argc > 1 ? argv[1] : "";
    if (argc < 6 || (precision != "fp32" && precision != "bf16")) {
        std::fprintf(stderr, "usage: step fp32|bf16 SIZE B T V [placement ...]\n");
        return 2;
    }
    std::vector<std::string> norms(argv + 6, argv + argc);
    if (norms.empty()) norms = {"peri"};
    (precision == "fp32" ? report_all<float>
                         : report_all<bf16>)(precision, argv[2], std::atoi(argv[3]),
                                             std::atoi(argv[4]), std::atoi(argv[5]), norms);
}
