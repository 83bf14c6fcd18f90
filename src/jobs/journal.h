// What a training run leaves behind while it goes: metrics, the paper's measurements, validations, the
// best weights, checkpoints, and a line on the terminal. Of several processes (comm.h) the first keeps
// it; the others take their share of a validation and send their part of a checkpoint.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "data/data.h"
#include "model.h"
#include "optimizer.h"
#include "probe/divergence.h"
#include "probe/probe_file.h"
#include "run/metrics.h"
#include "run/run_config.h"
#include "run/run_directory.h"
#include "store/best.h"

namespace peri {

// On which the paper's measurements are taken: about 512 held-out tokens, whole sequences, no more than fit at once.
Batch probe_batch(const Data& data, const RunConfig& run);

template <class Real>
class Journal {
  public:
    // Of a run that has done optimizer.steps() steps.
    Journal(Model<Real>& model, const Optimizer<Real>& optimizer, const Data& data,
            const RunConfig& run, const RunDirectory& directory);

    // Comes after every step, and does what is due then: measurements, a validation, a checkpoint.
    // True where the run has diverged and is to stop; what is wrong has been said on stderr.
    // Collective, as validate and save are.
    bool after(const StepMetrics& m);

    // Measurements, with --probe-every, on about 512 held-out tokens, and with --sharpness-every on about 128. Every step
    // loads its own batch and begins with loss and gradients 0: what is trained is the same with and without.
    void probe();
    void sharpness();

    double validate();  // the loss, which is noted
    void save();        // a checkpoint

    double train_loss() const;  // mean of the last 10 steps
    // Lines: whether the run is a usual one (jobs/bands.h), what --keep-best kept; each where it is known.
    std::string summary() const;
    void end_line() { progress_.line(""); }

  private:
    void remember(const StepMetrics& m);
    void say_diverged(const StepMetrics& m, const std::string& wrong);

    Model<Real>& model_;
    const Optimizer<Real>& optimizer_;
    const Data& data_;
    const RunConfig& run_;
    const RunDirectory& directory_;
    std::optional<MetricsFiles> metrics_;  // of the first process
    std::optional<ProbeFile> probes_;      // none with --probe-every 0
    std::optional<BestWeights> best_;      // with --keep-best
    Progress progress_;
    DivergenceWatch watch_;
    std::string wrong_;        // with the latest step
    std::deque<double> last_;  // the losses of the last 10 steps
};

}  // namespace peri
