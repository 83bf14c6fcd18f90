// peri.cpp: trains a Transformer with its norms placed as the user says.
//   flags -> data, model, optimizer -> training loop -> summary

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>

#include "accumulate.h"
#include "check.h"
#include "jobs/crosscheck.h"
#include "jobs/evaluate.h"
#include "jobs/export_hf.h"
#include "jobs/generate.h"
#include "probe/chart.h"
#include "probe/divergence.h"
#include "probe/probe_file.h"
#include "run/fit.h"
#include "run/flags.h"
#include "run/interrupt.h"
#include "run/metrics.h"
#include "run/report.h"
#include "run/run_directory.h"
#include "run/tuning.h"
#include "run/utilization.h"
#include "store/best.h"
#include "store/checkpoint.h"
#include "store/files.h"

using namespace peri;

namespace {

constexpr int exit_done = 0, exit_user = 2, exit_diverged = 3, exit_differs = 4;

double seconds_now() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

// ---- one run ------------------------------------------------------------------------------------

template <class Real>
void print_summary(Model<Real>& model, const Data& data, const RunConfig& run,
                   const std::vector<double>& start, const std::string& directory) {
    const std::vector<double> now = hidden_variance(model, data.validation(0, run.batch, run.seq));
    save_durably(directory + "/hidden_variance.csv", variance_table(start, now));
    std::printf("\nvariance of the hidden state after each sub-layer\n%s",
                variance_chart(start, now).c_str());
    const std::vector<int> prompt = {data.validation(0, 1, 1).tokens[0]};
    const std::vector<int> sample = generate(model, prompt, 256, {}, Rng(run.seed));
    std::printf("\na sample at temperature %g\n%s\n\n", Sampling().temperature,
                readable(sample, run.model.vocab).c_str());
}

// A run on its way.
template <class Real>
struct Training {
    Model<Real>& model;
    Optimizer<Real>& optimizer;
    const Data& data;
    const RunConfig& run;
    const RunDirectory& directory;
    MetricsFiles metrics;
    std::optional<BestWeights> best;  // with --keep-best
    Progress progress;
    double peak;                           // operations a second that this machine can do
    std::deque<double> last = {};          // the losses of the last 10 steps
    std::optional<ProbeFile> probes = {};  // none with --probe-every 0
    bool diverged = false;

    double train_loss() const {
        double sum = 0;
        for (const double loss : last) sum += loss;
        return sum / static_cast<double>(last.size());
    }
    void remember(double loss) {
        last.push_back(loss);
        if (last.size() > 10) last.pop_front();
    }
    void save() const {
        save_checkpoint(directory.path(), model, optimizer,
                        {{"config.json", run.json}, {"products.txt", backend_choices()}}, run.keep);
    }
    double validate() {
        const double loss = validation_loss(model, data, run);
        const Validation validation = metrics.add_validation(optimizer.steps(), loss);
        if (best) best->after(validation, model, {{"config.json", run.json}});
        return loss;
    }
};

// One step: forward and backward of every micro-batch (accumulate.cpp), then the update.
template <class Real>
StepMetrics train_step(Training<Real>& t, int64_t step) {
    const RunConfig& run = t.run;
    const double start = seconds_now(), lr = learning_rate(run.schedule, step);
    const Batch batch = t.data.training(run.seed, step, run.sequences(), run.seq);
    t.model.zero_loss();
    t.model.zero_gradients();
    forward_backward(t.model, batch, run.batch);
    t.optimizer.step(lr);
    const double loss = t.model.loss(), norm = t.optimizer.gradient_norm();
    const double seconds = seconds_now() - start, tokens = double(run.sequences()) * run.seq;
    const double mfu = operations_per_token(run.model, run.seq) * tokens / seconds / t.peak;
    return {.step = step,
            .tokens = step * int64_t(tokens),
            .loss = loss,
            .grad_norm = norm,
            .lr = lr,
            .seconds = seconds,
            .tokens_per_second = tokens / seconds,
            .mfu = mfu,
            .memory = device_memory_used<Real>()};
}

// The paper's measurements, on about 512 held-out tokens. Every step loads its own batch and begins
// with loss and gradients 0: what is trained is the same with and without.
template <class Real>
void probe(Training<Real>& t, int64_t step) {
    if (!t.probes) return;
    const int sequences = std::clamp(512 / t.run.seq, 1, t.run.batch);
    t.probes->add(step, measure(t.model, t.data.validation(0, sequences, t.run.seq)));
}

// The steps that are left.
template <class Real>
void training_loop(Training<Real>& t) {
    const RunConfig& run = t.run;
    DivergenceWatch watch(run.model.vocab, std::llround(run.schedule.warmup * run.schedule.steps));
    for (const StepMetrics& m : t.metrics.earlier()) {
        t.remember(m.loss);
        watch.after(m.step, m.loss, m.grad_norm);
    }
    while (t.optimizer.steps() < run.schedule.steps && !interrupt()) {
        const StepMetrics m = train_step(t, t.optimizer.steps() + 1);
        t.metrics.add(m);
        if (t.probes) t.probes->after(m);
        t.progress.step(m);
        t.remember(m.loss);
        const std::string wrong = watch.after(m.step, m.loss, m.grad_norm);
        if (!wrong.empty() && run.stop_on_divergence) {
            t.diverged = true;
            t.progress.line("");
            std::fprintf(stderr,
                         "diverged at step %lld: %s (gradient norm %.4g); %s; try a lower --lr\n",
                         static_cast<long long>(m.step), wrong.c_str(), m.grad_norm,
                         largest_hidden_state(t.model).c_str());
            probe(t, m.step);
            return;
        }
        const bool last = m.step == run.schedule.steps;
        if (run.probe_every && (last || m.step % run.probe_every == 0)) probe(t, m.step);
        if (run.val_every && m.step % run.val_every == 0 && !last) {
            const double loss = t.validate();
            char text[80];
            std::snprintf(text, sizeof text, "step %lld  validation loss %.4f",
                          static_cast<long long>(m.step), loss);
            t.progress.line(text);
        }
        if (run.save_every && (last || m.step % run.save_every == 0)) t.save();
    }
    t.progress.line("");
}

// The data, and with it the vocabulary that the model needs.
std::unique_ptr<Data> open_data(RunConfig& run) {
    std::unique_ptr<Data> data = peri::open_data(run.data, run.val_data, run.seq);
    if (run.vocab && run.vocab < data->vocab())
        throw UserError("--vocab " + std::to_string(run.vocab) + ": the data holds token " +
                        std::to_string(data->vocab() - 1) + "; give at least " +
                        std::to_string(data->vocab()) + " or leave the flag out");
    choose_vocab(run, data->vocab());
    choose_steps(run, data->epoch());
    return data;
}

// The fastest libraries for the products, saved with the run.
template <class Real>
void tune(Model<Real>& model, const RunConfig& run, const std::string& directory) {
    model.tune();
    keep_choices();
    save_durably(directory + "/products.txt", backend_choices());
    if (run.verbose)
        std::printf("products    (shape, chosen library, times as fast)\n%s\n",
                    backend_choices().c_str());
}

// --check: the steps of the run beside the oracle's, in place of training.
template <class Real>
int check(const RunConfig& run, const Data& data, const std::string& directory) {
    CrossCheck<Real> check(run);
    std::ofstream csv = open_new_file(directory, "check.csv");
    if (run.tune == Tune::on) recall_choices();
    if (run.tune != Tune::off) tune(check.backend(), run, directory);
    return report_check(check, run, data, csv) ? exit_done : exit_differs;
}

// Saves the run's settings, and goes on from where an earlier process stopped. Returns the steps
// done.
template <class Real>
int64_t go_on(Model<Real>& model, Optimizer<Real>& optimizer, const RunConfig& run,
              const RunDirectory& directory) {
    const std::string from =
        run.resume.empty() ? "" : resume(run.resume, directory.path(), model, optimizer);
    if (!from.empty()) std::printf("resumed     %s\n", from.c_str());
    save_durably(directory / "config.json", run.json);
    const std::string choices = from + "/products.txt";
    if (!from.empty() && std::filesystem::exists(choices)) {
        if (const std::string line = set_backend_choices(read_text(choices)); !line.empty())
            std::fprintf(stderr, "%s: '%s' cannot be followed here: the last bits may differ\n",
                         choices.c_str(), line.c_str());
    } else if (run.tune != Tune::off) {
        tune(model, run, directory.path());
    }
    return optimizer.steps();
}

template <class Real>
int train(const RunConfig& run, const Data& data, const std::string& path) {
    Model<Real> model(run.model, run.batch, run.seq);
    model.initialise(run.seed);
    if (!run.init_from.empty() && (run.resume.empty() || saved_steps(path).empty())) {
        load_weights(run.init_from, model);
        std::printf("weights     %s\n", run.init_from.c_str());
    }
    const std::vector<double> start =
        hidden_variance(model, data.validation(0, run.batch, run.seq));
    Optimizer<Real> optimizer(model, run.optimizer);
    const double floor = data.floor(run.val_batches, run.sequences(), run.seq);
    if (std::isfinite(floor))
        std::printf("floor       %.4f nats a token: no model can do better\n", floor);
    const RunDirectory directory(path, !run.resume.empty());
    if (run.tune == Tune::on) recall_choices();
    const double peak = measured_peak<Real>(run.tune != Tune::off);
    const int64_t done = go_on(model, optimizer, run, directory);
    std::printf("peak        %.0f GFLOP/s, measured; MFU is the share of it that training uses\n",
                peak * 1e-9);
    std::printf("out         %s\n\n", path.c_str());

    MetricsFiles metrics(path, done);
    std::optional<BestWeights> best;
    if (run.keep_best) best.emplace(path, done, metrics.earlier_validations());
    Training<Real> t = {model,
                        optimizer,
                        data,
                        run,
                        directory,
                        std::move(metrics),
                        std::move(best),
                        Progress(run.schedule.steps, run.quiet),
                        peak};
    if (run.probe_every) t.probes.emplace(path, done, t.metrics.earlier());
    if (done == 0) probe(t, 0);
    catch_interrupts();
    training_loop(t);
    if (const int signal = interrupt(); signal && optimizer.steps() < run.schedule.steps) {
        t.save();
        std::printf("interrupted after step %d: ./train --resume auto --out %s goes on\n",
                    optimizer.steps(), path.c_str());
        return 128 + signal;
    }
    const double val_loss = t.validate();
    if (!t.diverged && std::isfinite(val_loss)) print_summary(model, data, run, start, path);
    if (std::isfinite(floor))
        std::printf("validation loss is %.1f %% above the floor of %.4f\n",
                    100 * (val_loss / floor - 1), floor);
    if (t.best) std::printf("%s", t.best->summary().c_str());
    std::printf("final train loss %.4f\nfinal val loss %.4f\n", t.train_loss(), val_loss);
    return t.diverged ? exit_diverged : exit_done;
}

// What is known before anything is allocated, and with --dry-run no more than that; then training, or
// the same steps beside the oracle's.
template <class Real>
int plan_and_run(RunConfig run) {
    const bool planned = run.dry_run && run.memory;  // for a device that this machine need not have
    if (!planned) std::printf("backend     %s\n", backend_description().c_str());
    const bool unread = run.dry_run && run.vocab && !run.epochs;
    const std::unique_ptr<Data> data = unread ? nullptr : open_data(run);
    if (unread) choose_vocab(run, run.vocab);
    print_settings(run);
    print_memory<Real>(run);
    if (data) std::printf("data        %s\n", data->describe().c_str());
    if (run.dry_run) return exit_done;
    check_memory<Real>(run);
    const std::string directory = run.out.empty() ? default_directory(run.model.norm) : run.out;
    try {
        return run.job == Job::check ? check<Real>(run, *data, directory)
                                     : train<Real>(run, *data, directory);
    } catch (const OutOfMemory& e) {  // the plan said that it fits: suggest less than that
        const size_t less = plan<Real>(run).total() - 1, left = device_memory_left<Real>();
        throw UserError(e.shortage + ": " +
                        what_fits<Real>(run, left ? std::min(left, less) : less));
    }
}

template <class Real>
int start(const RunConfig& run) {
    if (run.threads) set_threads(run.threads);
    set_tf32(run.precision == Precision::tf32);
    if (run.dry_run) return plan_and_run<Real>(run);
    switch (run.job) {
        case Job::train:
        case Job::check:
            return plan_and_run<Real>(run);
        case Job::evaluate:
            print_evaluation<Real>(run);
            break;
        case Job::generate:
            print_generated<Real>(run);
            break;
        case Job::export_hf:
            std::printf("%s", export_hf(run).c_str());
            break;
    }
    return exit_done;
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
