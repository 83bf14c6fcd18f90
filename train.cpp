// peri.cpp: trains a Transformer with its norms placed as the user says.
//   flags -> data, model, optimizer -> training loop -> summary

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <optional>

#include "accumulate.h"
#include "check.h"
#include "comm.h"
#include "device.h"
#include "jobs/crosscheck.h"
#include "jobs/evaluate.h"
#include "jobs/export_hf.h"
#include "jobs/generate.h"
#include "jobs/import_hf.h"
#include "jobs/journal.h"
#include "jobs/prepare.h"
#include "jobs/readable.h"
#include "jobs/view.h"
#include "probe/chart.h"
#include "probe/probe.h"
#include "run/fit.h"
#include "run/flags.h"
#include "run/interrupt.h"
#include "run/report.h"
#include "run/share.h"
#include "run/utilization.h"
#include "store/files.h"
#include "tree_accumulation.h"

using namespace peri;

namespace {

constexpr int exit_done = 0, exit_user = 2, exit_diverged = 3, exit_differs = 4;

double seconds_now() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

// One step: forward and backward of every micro-batch of this process's share (accumulate.cpp), then
// the update with the gradients of all processes. tree: with --reproducible alone.
template <class Real>
StepMetrics train_step(Model<Real>& model, Optimizer<Real>& optimizer, TreeAccumulation<Real>* tree,
                       const Data& data, const RunConfig& run, double peak) {
    const double start = seconds_now();
    const int64_t step = optimizer.steps() + 1;
    const auto [first, count] = share_of(run, comm::rank());
    const Batch batch = data.training_rows(run.seed, step, run.sequences(), run.seq, first, count);
    const double targets = std::max(1.0, comm::sum(target_count(batch)));
    double own_loss = 0;  // this process's part of it
    if (tree) {
        own_loss = tree->forward_backward(model, batch, run.micro(), targets);
    } else {
        model.zero_loss();
        model.zero_gradients();
        forward_backward(model, batch, run.micro(), targets);
    }
    const double lr = learning_rate(run.schedule, step);
    optimizer.step(lr);

    if (!tree) own_loss = model.loss();  // from here on the host waits for the device
    const double loss = comm::sum(own_loss), norm = optimizer.gradient_norm();
    const double seconds = seconds_now() - start, tokens = double(run.sequences()) * run.seq;
    return {.step = step,
            .tokens = step * int64_t(tokens),
            .loss = loss,
            .grad_norm = norm,
            .lr = lr,
            .seconds = seconds,
            .tokens_per_second = tokens / seconds,
            .mfu = operations_per_token(run.model, run.seq) * tokens / seconds / peak,
            .memory = device_memory_used<Real>(),
            .loss_scale = model.loss_scale()};
}

// The variance of the hidden state after training beside that at the start, and a sample.
template <class Real>
void print_summary(Model<Real>& model, const Data& data, const RunConfig& run,
                   const std::vector<double>& start, const std::string& directory) {
    const std::vector<double> now = hidden_variance(model, probe_batch(data, run));
    save_durably(directory + "/hidden_variance.csv", variance_table(start, now));
    std::printf("\nvariance of the hidden state after each sub-layer\n%s",
                variance_chart(start, now).c_str());
    const std::vector<int> prompt = {data.validation(0, 1, 1).tokens[0]};
    const std::vector<int> sample = generate(model, prompt, 256, {}, Rng(run.seed));
    std::printf("\na sample at temperature %g\n%s\n\n", Sampling().temperature,
                readable(sample, run.model.vocab).c_str());
}

template <class Real>
int train(const RunConfig& run, const Data& data, const std::string& path) {
    Model<Real> model(run.model, run.micro(), run.seq);
    const std::vector<double> start = initial_weights(model, data, run, path);
    Optimizer<Real> optimizer(model, run.optimizer);
    if (run.loss_scale.scale > 0) model.set_loss_scale(run.loss_scale);
    const double floor = data.floor(run.val_batches, run.sequences(), run.seq);
    if (std::isfinite(floor))
        std::printf("floor       %.4f nats a token: no model can do better\n", floor);
    const RunDirectory directory(path, !run.resume.empty(), comm::rank() == 0);
    if (run.tune == Tune::on) recall_choices();
    const double own_peak = measured_peak<Real>(run.tune != Tune::off && comm::rank() == 0);
    const double peak = comm::sum(own_peak);
    go_on(model, optimizer, run, directory);  // --resume's checkpoint, the fastest products
    std::printf("peak        %.0f GFLOP/s, measured; MFU is the share of it that training uses\n",
                peak * 1e-9);
    std::printf("out         %s\n\n", path.c_str());

    std::optional<TreeAccumulation<Real>> tree;
    if (run.reproducible) tree.emplace(model, run.sequences() / run.ranks / run.micro());
    std::optional<Profile<Real>> profile;  // of the first process
    if (run.profile && comm::rank() == 0) profile.emplace();
    const Ceilings ceilings = {own_peak, profile ? measured_bandwidth<Real>() : 0};
    Journal<Real> journal(model, optimizer, data, run, directory);
    if (optimizer.steps() == 0) journal.probe(), journal.sharpness();
    catch_interrupts();
    bool diverged = false;
    int signal = 0;  // that any process has received
    while (optimizer.steps() < run.schedule.steps && !signal && !diverged) {
        if (profile) profile->begin_step();
        const auto m = train_step(model, optimizer, tree ? &*tree : nullptr, data, run, peak);
        if (profile) profile->end_step(m.seconds);
        diverged = journal.after(m);
        signal = static_cast<int>(comm::largest(interrupt()));
    }
    if (!diverged) journal.end_line();
    if (profile) print_profile(*profile, ceilings, path);

    if (signal && !diverged && optimizer.steps() < run.schedule.steps) {
        journal.save();
        std::printf("interrupted after step %d: ./train --resume auto --out %s goes on\n",
                    optimizer.steps(), path.c_str());
        return 128 + signal;
    }
    const double val_loss = journal.validate();
    if (comm::rank() == 0) {
        if (!diverged && std::isfinite(val_loss)) print_summary(model, data, run, start, path);
        if (std::isfinite(floor))
            std::printf("validation loss is %.1f %% above the floor of %.4f\n",
                        100 * (val_loss / floor - 1), floor);
        std::printf("%sfinal train loss %.4f\nfinal val loss %.4f\n", journal.summary().c_str(),
                    journal.train_loss(), val_loss);
    }
    comm::largest(0);  // the others wait for the first
    return diverged ? exit_diverged : exit_done;
}

// --check: the steps of the run beside the oracle's, in place of training.
template <class Real>
int check(const RunConfig& run, const Data& data, const std::string& path) {
    CrossCheck<Real> check(run);
    std::ofstream csv =
        comm::rank() == 0 ? open_new_file(path, "check.csv") : std::ofstream("/dev/null");
    if (run.tune == Tune::on) recall_choices();
    if (run.tune != Tune::off) tune(check.backend(), run, path);
    return report_check(check, run, data, csv) ? exit_done : exit_differs;
}

// What is known before anything is allocated, and with --dry-run no more than that; then training, or
// the same steps beside the oracle's.
template <class Real>
int plan_and_run(RunConfig run) {
    if (!run.dry_run) run.ranks = comm::size();
    const bool planned = run.dry_run && run.memory;  // for a device that this machine need not have
    if (!planned) std::printf("backend     %s\n", backend_description().c_str());
    const bool unread = run.dry_run && run.vocab && !run.epochs;
    const std::unique_ptr<Data> data = unread ? nullptr : open_data(run);
    if (unread) choose_vocab(run, run.vocab);
    print_settings(run);
    print_memory<Real>(run);
    if (data) std::printf("data        %s\n", data->describe().c_str());
    share_of(run, comm::rank());  // throws where there is none
    if (run.dry_run) return exit_done;
    check_memory<Real>(run);
    require_same_run(run, data->describe());
    const std::string directory =
        comm::from_first(run.out.empty() ? default_directory(run.model.norm) : run.out);
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
    if (const int threads = run.threads ? run.threads : comm::threads()) set_threads(threads);
    comm::set_patience(run.patience);
    if (comm::size() > 1 && run.job > Job::evaluate)
        throw UserError("several processes only train, --check and --evaluate: use ./train here");
    set_tf32(run.precision == Precision::tf32);
    set_attention(run.attention);
    if (run.dry_run || run.job <= Job::check) return plan_and_run<Real>(run);
    if (run.job == Job::evaluate) print_evaluation<Real>(run);
    if (run.job == Job::generate) print_generated<Real>(run);
    if (run.job == Job::export_hf) std::printf("%s", export_hf(run).c_str());
    if (run.job == Job::import_hf) std::printf("%s", import_hf(run).c_str());
    if (run.job == Job::view) view(run);
    return exit_done;
}

}  // namespace

int main(int argc, char** argv) {
    set_flush_subnormals(true);
    comm::Session session;
    survive_file_limits();
    end_with_memory(exit_user);
    try {
        const std::optional<RunConfig> run = parse_flags(argc, argv);
        if (!run) return exit_done;
        return run->precision == Precision::bf16   ? start<bf16>(*run)
               : run->precision == Precision::fp16 ? start<fp16>(*run)
                                                   : start<float>(*run);
    } catch (const comm::Ended&) {
        return exit_user;
    } catch (const UserError& e) {
        if (session.fail(e.what())) print_error(argv[0], e.what());
    } catch (const std::bad_alloc&) {
        std::terminate();  // as where it cannot be caught
    } catch (const std::exception& e) {
        print_error(argv[0], std::string("the system failed: ") + e.what());
    }
    return exit_user;
}
