// peri.cpp: trains a Transformer with its norms placed as the user says.
//   flags -> data, model, optimizer -> training loop -> summary

#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <deque>
#include <fstream>
#include <sstream>

#include "accumulate.h"
#include "check.h"
#include "crosscheck.h"
#include "fit.h"
#include "flags.h"
#include "generate.h"
#include "metrics.h"
#include "probe.h"
#include "report.h"

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

// ---- one run ------------------------------------------------------------------------------------

template <class T>
double validation_loss(Model<T>& model, const Data& data, const RunConfig& run) {
    int64_t labels = 0;
    model.zero_loss();
    for (int i = 0; i < run.val_batches; i++) {
        const Batch batch = data.validation(i, run.sequences(), run.seq);
        labels += label_count(batch);
        forward_evaluate(model, batch, run.batch);
    }
    return model.loss() / static_cast<double>(labels);
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
    const int64_t tokens = int64_t(run.sequences()) * run.seq;
    for (int64_t step = 1; step <= run.schedule.steps; step++) {
        const double start = seconds_now(), lr = learning_rate(run.schedule, step);
        const Batch batch = data.training(run.seed, step, run.sequences(), run.seq);
        model.zero_loss();
        model.zero_gradients();
        forward_backward(model, batch, run.batch);
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
    choose_steps(run, data->epoch());
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
int train(const RunConfig& run, const Data& data, const std::string& directory) {
    Model<T> model(run.model, run.batch, run.seq);
    model.initialise(run.seed);
    Optimizer<T> optimizer(model, run.optimizer);
    const double floor = data.floor(run.val_batches, run.sequences(), run.seq);
    if (std::isfinite(floor))
        std::printf("floor       %.4f nats a token: no model can do better\n", floor);
    MetricsFile metrics(directory);
    save(directory + "/config.json", run.json);
    Progress progress(run.schedule.steps, run.quiet);
    std::printf("out         %s\n\n", directory.c_str());

    if (run.tune) tune(model, run, directory);
    const std::vector<double> start = held_out_variance(model, data, run);
    const Outcome outcome = training_loop(model, optimizer, data, run, metrics, progress);
    const double val_loss = validation_loss(model, data, run);
    if (!outcome.diverged) print_summary(model, data, run, start, directory);
    if (std::isfinite(floor))
        std::printf("validation loss is %.1f %% above the floor of %.4f\n",
                    100 * (val_loss / floor - 1), floor);
    std::printf("final train loss %.4f\nfinal val loss %.4f\n", outcome.train_loss, val_loss);
    return outcome.diverged ? exit_diverged : exit_done;
}

// What is known before anything is allocated, then the run.
template <class T>
int start(RunConfig run) {
    if (run.threads) set_threads(run.threads);
    set_tf32(run.precision == Precision::tf32);
    const bool planned = run.dry_run && run.memory;  // for a device that this machine need not have
    if (!planned) std::printf("backend     %s\n", backend_description().c_str());
    const bool unread = run.dry_run && run.vocab && !run.epochs;
    const std::unique_ptr<Data> data = unread ? nullptr : open_data(run);
    print_settings(run);
    print_memory<T>(run);
    if (data) std::printf("data        %s\n", data->describe().c_str());
    if (run.dry_run) return exit_done;
    check_memory<T>(run);
    const std::string directory = run.out.empty() ? default_directory(run.model.norm) : run.out;
    try {
        return run.check ? check<T>(run, *data, directory) : train<T>(run, *data, directory);
    } catch (const OutOfMemory& e) {  // the plan said that it fits: suggest less than that
        const size_t less = plan<T>(run).total() - 1, left = device_memory_left<T>();
        throw UserError(e.shortage + ": " + what_fits<T>(run, left ? std::min(left, less) : less));
    }
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const std::optional<RunConfig> run = parse_flags(argc, argv);
        if (!run) return exit_done;
        return run->precision == Precision::bf16 ? start<bf16>(*run) : start<float>(*run);
    } catch (const UserError& e) {
        std::fprintf(stderr, "train: %s\n", e.what());
        return exit_user;
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "train: no memory left: choose a smaller --batch, --seq or --size\n");
        return exit_user;
    }
}
