// peri.cpp: trains a Transformer with its norms placed as the user says.
//   flags -> data, model, optimizer -> training loop -> summary

#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <deque>
#include <fstream>
#include <sstream>

#include "check.h"
#include "crosscheck.h"
#include "flags.h"
#include "generate.h"
#include "metrics.h"
#include "probe.h"

using namespace peri;

namespace {

constexpr int exit_done = 0, exit_user = 2, exit_diverged = 3, exit_differs = 4;

double seconds_now() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

std::string default_directory(const std::string& norm) {
    char date[32];
    const std::time_t now = std::time(nullptr);
    std::strftime(date, sizeof date, "%Y-%m-%d-%H%M%S", std::localtime(&now));
    return std::string("runs/") + date + "-" + norm;
}

// ---- what is printed before a run ---------------------------------------------------------------

void print_settings(const RunConfig& run) {
    const ModelConfig& m = run.model;
    const TensorTable table = tensor_table(m);
    const double millions = 1e-6 * static_cast<double>(table.parameters());
    const double without = millions - 1e-6 * static_cast<double>(table.embedding_parameters());
    std::printf("norm        %s\n", m.norm.c_str());
    const Placement* previous = nullptr;
    for (const Placement& p : m.placement) {
        if (previous && previous->name == p.name) continue;
        std::printf("            %s: %s, qk-norm %s   (%s)\n", p.name, equation(p).c_str(),
                    to_string(p.qk), p.source);
        previous = &p;
    }
    std::printf("            %s with eps %g, embedding norm %s, final norm %s%s\n",
                m.layernorm ? "LayerNorm" : "RMSNorm", m.norm_eps, m.embedding_norm ? "on" : "off",
                m.final_norm ? "on" : "off", m.freeze_output_gamma ? ", output norms frozen" : "");
    std::printf(
        "model       %d layers, width %d, %d heads of %d (%d key/value), MLP %d, vocabulary %d\n",
        m.layers, m.width, m.heads, m.head_size(), m.kv_heads, m.ffn, m.vocab);
    std::printf("parameters  %.2f M, %.2f M without embedding and head\n", millions, without);
    const Schedule& schedule = run.schedule;
    std::printf("training    %lld steps of %d x %d tokens, seed %llu, init %s\n",
                static_cast<long long>(schedule.steps), run.batch, run.seq,
                static_cast<unsigned long long>(run.seed), run.init.c_str());
    std::printf("            learning rate %g, %s to %g, after %g %% warmup\n", schedule.peak,
                run.decay.c_str(), schedule.peak * schedule.lowest, 100 * schedule.warmup);
    const OptimizerSettings& o = run.optimizer;
    if (o.sgd)
        std::printf("            SGD, momentum %g", o.momentum);
    else
        std::printf("            AdamW, betas %g %g", o.beta1, o.beta2);
    std::printf(", weight decay %g, clip %g, %s\n", o.weight_decay, o.clip,
                run.bf16 ? "bf16 with fp32 master weights" : "fp32");
}

template <class T>
void print_memory(const RunConfig& run) {
    const MemoryPlan plan = plan_memory<T>(run.model, run.batch, run.seq, run.optimizer.moments());
    const auto mib = [](size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    std::printf(
        "memory      %.1f MiB: weights %.1f, gradients %.1f, optimizer %.1f, activations %.1f, "
        "workspace %.1f\n",
        mib(plan.total()), mib(plan.weights), mib(plan.gradients), mib(plan.optimizer),
        mib(plan.activations), mib(plan.workspace));
}

void require_memory(const std::string& what, size_t needed, size_t left) {
    if (left && needed > left)
        throw UserError(what + " needs " + std::to_string(needed >> 20) + " MiB and there are " +
                        std::to_string(left >> 20) +
                        " MiB left: choose a smaller --batch, --seq or --size");
}

template <class T>
void check_memory(const RunConfig& run) {
    const size_t needed =
        plan_memory<T>(run.model, run.batch, run.seq, run.optimizer.moments()).total();
    require_memory("this run", needed, device_memory_left<T>());
    if (!run.check) return;
    const bool shared = backend_name() == std::string("cpu");
    require_memory("--check, which computes the run in double on the CPU too,",
                   oracle_memory(run) + (shared ? needed : 0), device_memory_left<double>());
}

// ---- one run ------------------------------------------------------------------------------------

template <class T>
double validation_loss(Model<T>& model, const Data& data, const RunConfig& run) {
    model.zero_loss();
    for (int i = 0; i < run.val_batches; i++) {
        model.load(data.validation(i, run.batch, run.seq));
        model.forward();
        model.evaluate(double(run.batch) * run.seq * run.val_batches);
    }
    return model.loss();
}

template <class T>
std::vector<double> held_out_variance(Model<T>& model, const Data& data, const RunConfig& run) {
    model.load(data.validation(0, run.batch, run.seq));
    model.forward();
    return hidden_variance(model);
}

void save(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text << std::flush;
    if (!file) throw UserError(path + ": cannot write (is the disk full?): free some space");
}

std::string variance_table(const std::vector<double>& start, const std::vector<double>& now) {
    std::ostringstream csv;
    csv << "sublayer,start,end\n";
    for (size_t s = 0; s < now.size(); s++) csv << s << ',' << start[s] << ',' << now[s] << '\n';
    return csv.str();
}

// Bytes as text, 0 (the end of a text) as a new line, what a terminal would obey as '?'; tokens of
// a larger vocabulary by number.
std::string readable(const std::vector<int>& tokens, int vocab) {
    std::string text;
    for (const int token : tokens) {
        const bool shown = token == '\n' || token == '\t' || (token >= ' ' && token != 127);
        text += vocab > 256  ? std::to_string(token) + " "
                : token == 0 ? "\n"
                : shown      ? std::string(1, static_cast<char>(token))
                             : "?";
    }
    return text;
}

template <class T>
void print_summary(Model<T>& model, const Data& data, const RunConfig& run,
                   const std::vector<double>& start, const std::string& directory) {
    const std::vector<double> now = held_out_variance(model, data, run);
    save(directory + "/hidden_variance.csv", variance_table(start, now));
    std::printf("\nvariance of the hidden state after each sub-layer\n%s",
                variance_chart(start, now).c_str());
    const std::vector<int> prompt = {data.validation(0, 1, 1).tokens[0]};
    const std::vector<int> sample = generate(model, prompt, 256, 0.8, run.seq, Rng(run.seed));
    std::printf("\na sample at temperature 0.8\n%s\n\n", readable(sample, run.model.vocab).c_str());
}

struct Outcome {
    bool diverged = false;
    double train_loss = NAN;  // mean of the last 10 steps
};

template <class T>
Outcome training_loop(Model<T>& model, Optimizer<T>& optimizer, const Data& data,
                      const RunConfig& run, MetricsFile& metrics, Progress& progress) {
    std::deque<double> last;
    Outcome outcome;
    const int64_t tokens = int64_t(run.batch) * run.seq;
    for (int64_t step = 1; step <= run.schedule.steps; step++) {
        const double start = seconds_now(), lr = learning_rate(run.schedule, step);
        model.load(data.training(run.seed, step, run.batch, run.seq));
        model.zero_loss();
        model.zero_gradients();
        model.forward();
        model.backward(static_cast<double>(tokens));
        optimizer.step(lr);

        const double loss = model.loss(), norm = optimizer.gradient_norm();
        const double seconds = seconds_now() - start;
        const StepMetrics m = {step, step * tokens, loss, norm, lr, seconds, tokens / seconds};
        metrics.add(m);
        progress.step(m);
        last.push_back(loss);
        if (last.size() > 10) last.pop_front();
        outcome.train_loss = 0;
        for (const double l : last) outcome.train_loss += l / static_cast<double>(last.size());
        if (!std::isfinite(loss) || !std::isfinite(norm)) {
            outcome.diverged = true;
            progress.line("");
            std::fprintf(stderr,
                         "diverged at step %lld: loss %g, gradient norm %g; try a lower --lr\n",
                         static_cast<long long>(step), loss, norm);
            break;
        }
        if (run.val_every && step % run.val_every == 0 && step < run.schedule.steps) {
            char text[80];
            std::snprintf(text, sizeof text, "step %lld  validation loss %.4f",
                          static_cast<long long>(step), validation_loss(model, data, run));
            progress.line(text);
        }
    }
    progress.line("");
    return outcome;
}

// The data, and with it the vocabulary that the model needs.
std::unique_ptr<Data> open_data(RunConfig& run) {
    std::unique_ptr<Data> data = peri::open_data(run.data, run.val_data, run.seq);
    if (run.vocab && run.vocab < data->vocab())
        throw UserError("--vocab " + std::to_string(run.vocab) + ": the data holds token " +
                        std::to_string(data->vocab() - 1) + "; give at least " +
                        std::to_string(data->vocab()) + " or leave the flag out");
    run.model.vocab = run.vocab ? run.vocab : data->vocab();
    return data;
}

// The fastest libraries for the products, saved with the run.
template <class T>
void tune(Model<T>& model, const RunConfig& run, const std::string& directory) {
    model.tune();
    save(directory + "/products.txt", backend_choices());
    if (run.verbose)
        std::printf("products    (shape, chosen library, times as fast)\n%s\n",
                    backend_choices().c_str());
}

// --check: the steps of the run beside the oracle's, in place of training.
template <class T>
int check(const RunConfig& run, const Data& data, const std::string& directory) {
    CrossCheck<T> check(run);
    std::ofstream csv = open_new_file(directory, "check.csv");
    if (run.tune) tune(check.backend(), run, directory);
    return report_check(check, run, data, csv) ? exit_done : exit_differs;
}

template <class T>
int train(RunConfig run) {
    if (run.threads) set_threads(run.threads);
    std::printf("backend     %s\n", backend_description().c_str());
    const std::unique_ptr<Data> data = open_data(run);
    print_settings(run);
    print_memory<T>(run);
    std::printf("data        %s\n", data->describe().c_str());
    if (run.dry_run) return exit_done;
    check_memory<T>(run);
    const std::string directory = run.out.empty() ? default_directory(run.model.norm) : run.out;
    if (run.check) return check<T>(run, *data, directory);

    Model<T> model(run.model, run.batch, run.seq);
    model.initialise(run.seed);
    Optimizer<T> optimizer(model, run.optimizer);
    const double floor = data->floor(run.val_batches, run.batch, run.seq);
    if (std::isfinite(floor))
        std::printf("floor       %.4f nats a token: no model can do better\n", floor);
    MetricsFile metrics(directory);
    Progress progress(run.schedule.steps, run.quiet);
    std::printf("out         %s\n\n", directory.c_str());

    if (run.tune) tune(model, run, directory);
    const std::vector<double> start = held_out_variance(model, *data, run);
    const Outcome outcome = training_loop(model, optimizer, *data, run, metrics, progress);
    const double val_loss = validation_loss(model, *data, run);
    if (!outcome.diverged) print_summary(model, *data, run, start, directory);
    if (std::isfinite(floor))
        std::printf("validation loss is %.1f %% above the floor of %.4f\n",
                    100 * (val_loss / floor - 1), floor);
    std::printf("final train loss %.4f\nfinal val loss %.4f\n", outcome.train_loss, val_loss);
    return outcome.diverged ? exit_diverged : exit_done;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const std::optional<RunConfig> run = parse_flags(argc, argv);
        if (!run) return exit_done;
        return run->bf16 ? train<bf16>(*run) : train<float>(*run);
    } catch (const UserError& e) {
        std::fprintf(stderr, "train: %s\n", e.what());
        return exit_user;
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "train: no memory left: choose a smaller --batch, --seq or --size\n");
        return exit_user;
    }
}
