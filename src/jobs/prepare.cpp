#include "jobs/prepare.h"

#include <cmath>
#include <cstdio>

#include "check.h"
#include "comm.h"
#include "device.h"
#include "jobs/journal.h"
#include "open_file.h"
#include "probe/probe.h"
#include "run/flags.h"
#include "run/tuning.h"
#include "store/checkpoint.h"
#include "store/files.h"
#include "store/saved.h"

namespace peri {

std::unique_ptr<Data> open_data(RunConfig& run) {
    std::unique_ptr<Data> data = open_data(run.data, run.val_data, run.seq, run.draw);
    if (run.vocab && run.vocab < data->vocab())
        throw UserError("--vocab " + std::to_string(run.vocab) + ": the data " +
                        (data->bytes() ? std::string("is read as bytes, which are 256 tokens")
                                       : "holds token " + std::to_string(data->vocab() - 1)) +
                        "; give at least " + std::to_string(data->vocab()) +
                        " or leave the flag out");
    choose_vocab(run, data->vocab());
    choose_steps(run, data->epoch());
    return data;
}

template <class Real>
std::vector<double> initial_weights(Model<Real>& model, const Data& data, const RunConfig& run,
                                    const std::string& directory) {
    model.initialise(run.seed);
    const bool goes_on = !run.resume.empty() && !saved_steps(directory).empty();
    try {
        if (!run.init_from.empty()) load_weights(run.init_from, model);
    } catch (const UserError&) {
        if (!goes_on) throw;
        return std::vector<double>(model.sublayer_count() + 1, NAN);
    }
    if (!run.init_from.empty() && !goes_on) std::printf("weights     %s\n", run.init_from.c_str());
    return hidden_variance(model, probe_batch(data, run));
}

template <class Real>
void tune(Model<Real>& model, const RunConfig& run, const std::string& directory) {
    if (comm::rank() > 0) return;
    model.tune();
    keep_choices();
    save_durably(directory + "/products.txt", backend_choices());
    if (run.verbose)
        std::printf("products    (shape, chosen library, times as fast)\n%s\n",
                    backend_choices().c_str());
}

template <class Real>
void go_on(Model<Real>& model, Optimizer<Real>& optimizer, const RunConfig& run,
           const RunDirectory& directory) {
    const std::string from =
        run.resume.empty() ? "" : resume(run.resume, directory.path(), model, optimizer);
    if (!run.resume.empty())
        std::printf("resumed     %s\n",
                    from.empty() ? "nothing: there is no checkpoint yet" : from.c_str());
    if (optimizer.steps() > run.schedule.steps)
        throw UserError("--steps " + std::to_string(run.schedule.steps) + ": this run has done " +
                        std::to_string(optimizer.steps()) + " already: give more");
    if (comm::rank() == 0) save_durably(directory / "config.json", run.json);
    const std::string choices = from + "/products.txt";
    if (!from.empty() && is_there(choices)) {
        if (const std::string line = set_backend_choices(read_text(choices, short_text));
            !line.empty())
            std::fprintf(stderr, "%s: '%s' cannot be followed here: the last bits may differ\n",
                         choices.c_str(), line.c_str());
    } else if (run.tune != Tune::off) {
        tune(model, run, directory.path());
    }
    const std::string first = comm::from_first(backend_choices());
    if (comm::rank() > 0) set_backend_choices(first);  // the same processors or not: the same bits
}

#define INSTANTIATE(Real)                                                                     \
    template std::vector<double> initial_weights(Model<Real>&, const Data&, const RunConfig&, \
                                                 const std::string&);                         \
    template void tune(Model<Real>&, const RunConfig&, const std::string&);                   \
    template void go_on(Model<Real>&, Optimizer<Real>&, const RunConfig&, const RunDirectory&);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
