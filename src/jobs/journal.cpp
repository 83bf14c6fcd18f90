#include "jobs/journal.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "comm.h"
#include "device.h"
#include "jobs/bands.h"
#include "jobs/evaluate.h"
#include "probe/probe.h"
#include "probe/sharpness.h"
#include "store/checkpoint.h"

namespace peri {

Batch probe_batch(const Data& data, const RunConfig& run) {
    return data.validation(0, std::clamp(512 / run.seq, 1, run.micro()), run.seq);
}

template <class Real>
Journal<Real>::Journal(Model<Real>& model, const Optimizer<Real>& optimizer, const Data& data,
                       const RunConfig& run, const RunDirectory& directory)
    : model_(model),
      optimizer_(optimizer),
      data_(data),
      run_(run),
      directory_(directory),
      progress_(run.schedule.steps, run.quiet),
      watch_(run.model.vocab, std::llround(run.schedule.warmup * run.schedule.steps)) {
    const int64_t done = optimizer.steps();
    if (comm::rank() > 0) return;
    metrics_.emplace(directory.path(), done);
    if (run.keep_best) best_.emplace(directory.path(), done, metrics_->earlier_validations());
    if (run.probe_every || run.sharpness_every)
        probes_.emplace(directory.path(), done, metrics_->earlier());
    for (const StepMetrics& m : metrics_->earlier()) remember(m);
}

template <class Real>
void Journal<Real>::remember(const StepMetrics& m) {
    last_.push_back(m.loss);
    if (last_.size() > 10) last_.pop_front();
    wrong_ = watch_.after(m.step, m.loss, m.grad_norm, run_.loss_scale.scale > 0);
}

template <class Real>
bool Journal<Real>::after(const StepMetrics& m) {
    if (metrics_) metrics_->add(m);
    if (probes_) probes_->after(m);
    progress_.step(m);
    remember(m);
    const bool stop = metrics_ && !wrong_.empty() && run_.stop_on_divergence;
    if (stop) {
        say_diverged(m, wrong_);
        probe();
    }
    if (comm::largest(stop) > 0) return true;
    const bool last = m.step == run_.schedule.steps;
    if (run_.probe_every && (last || m.step % run_.probe_every == 0)) probe();
    if (run_.sharpness_every && (last || m.step % run_.sharpness_every == 0)) sharpness();
    if (run_.val_every && m.step % run_.val_every == 0 && !last) {
        const double loss = validate();
        char text[80];
        std::snprintf(text, sizeof text, "step %lld  validation loss %.4f",
                      static_cast<long long>(m.step), loss);
        progress_.line(text);
    }
    if (run_.save_every && (last || m.step % run_.save_every == 0)) save();
    return false;
}

template <class Real>
void Journal<Real>::say_diverged(const StepMetrics& m, const std::string& wrong) {
    progress_.line("");
    std::fprintf(stderr, "diverged at step %lld: %s (gradient norm %.4g); %s; try a lower --lr\n",
                 static_cast<long long>(m.step), wrong.c_str(), m.grad_norm,
                 largest_hidden_state(model_).c_str());
}

template <class Real>
void Journal<Real>::probe() {
    if (!probes_ || !run_.probe_every) return;
    probes_->add(optimizer_.steps(), measure(model_, probe_batch(data_, run_)));
}

template <class Real>
void Journal<Real>::sharpness() {
    if (!probes_ || !run_.sharpness_every) return;
    const Batch batch = data_.validation(0, run_.sharpness_sequences(), run_.seq);
    probes_->add(optimizer_.steps(), peri::sharpness(model_, optimizer_, run_.optimizer, batch));
}

template <class Real>
double Journal<Real>::validate() {
    const double loss = validation_loss(model_, data_, run_);
    if (!metrics_) return loss;
    const Validation validation = metrics_->add_validation(optimizer_.steps(), loss);
    if (best_) best_->after(validation, model_, {{"config.json", run_.json}});
    return loss;
}

template <class Real>
void Journal<Real>::save() {
    const std::string rows =
        (metrics_ ? metrics_->synced() : "") + (probes_ ? probes_->synced() : "");
    save_checkpoint(
        directory_.path(), model_, optimizer_,
        {{"config.json", run_.json}, {"products.txt", backend_choices()}, {"rows.txt", rows}},
        run_.keep);
}

template <class Real>
double Journal<Real>::train_loss() const {
    double sum = 0;
    for (const double loss : last_) sum += loss;
    return sum / static_cast<double>(last_.size());
}

template <class Real>
std::string Journal<Real>::summary() const {
    const std::string normal = beside_bands(directory_.path());
    return (normal.empty() ? "" : normal + "\n") + (best_ ? best_->summary() : "");
}

template class Journal<float>;
template class Journal<bf16>;
template class Journal<fp16>;

}  // namespace peri
