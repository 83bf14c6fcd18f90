#include "jobs/evaluate.h"

#include <cmath>
#include <cstdio>
#include <numbers>
#include <optional>

#include "accumulate.h"
#include "check.h"
#include "comm.h"
#include "jobs/journal.h"
#include "jobs/view.h"
#include "probe/probe_file.h"
#include "run/fit.h"
#include "run/flags.h"
#include "run/metrics.h"
#include "run/run_directory.h"
#include "run/share.h"
#include "store/checkpoint.h"

namespace peri {

template <class Real>
Evaluation evaluate(Model<Real>& model, const std::function<Batch(int64_t)>& batch, int micro) {
    Evaluation result;
    std::vector<double> losses;  // of `micro` sequences each; 0 for those of another process
    int64_t i = 0;
    for (Batch next = batch(i); next.B > 0; next = batch(++i)) {
        result.tokens += target_count(next);
        for (const Batch& part : micro_batches(next, micro)) {
            model.zero_loss();
            if (static_cast<int>(losses.size() % comm::size()) == comm::rank())
                forward_evaluate(model, part, micro);
            losses.push_back(model.loss());
        }
    }
    const std::vector<std::vector<double>> of_all = comm::exchange(losses);
    for (size_t k = 0; k < losses.size(); k++)
        for (const std::vector<double>& of_one : of_all) result.loss += of_one[k];
    result.loss /= static_cast<double>(result.tokens);
    return result;
}

namespace {

// No part of the files is held out, so whatever holds two tokens will do.
std::unique_ptr<Data> open_whole(RunConfig& run) {
    // a text may be shorter than a window, except to be measured; samples are cut to it
    const bool cut = run.data.ends_with(".jsonl") || run.data.empty() || !run.out.empty();
    const int shortest = cut ? run.seq : 1;
    std::unique_ptr<Data> data = open_data(run.data, run.data, shortest);
    choose_vocab(run, saved_vocab(run.init_from));
    if (data->vocab() > run.model.vocab)
        throw UserError("--data " + run.data + " holds token " + std::to_string(data->vocab() - 1) +
                        ", and the model of --init-from " + run.init_from + " has " +
                        std::to_string(run.model.vocab) +
                        " tokens: give data of the tokenizer that it was trained with");
    return data;
}

// The batches of a training run's validation.
std::function<Batch(int64_t)> held_out(const RunConfig& run, const Data& data) {
    return [&](int64_t i) {
        if (i == run.val_batches) return Batch();
        return data.validation(static_cast<int>(i), run.sequences(), run.seq);
    };
}

// What the evaluation goes over: the data from one end to the other or, as the stories have no end,
// what is held out of them.
std::function<Batch(int64_t)> batches(const RunConfig& run, const Data& data) {
    if (run.data.empty()) return held_out(run, data);
    return [&](int64_t i) { return data.whole(i, run.batch, run.seq); };
}

void print(const Evaluation& e, bool bytes) {
    const double bits = e.loss / std::numbers::ln2;
    std::printf("tokens      %lld predicted\n", static_cast<long long>(e.tokens));
    std::printf("loss        %.6f nats a token\n", e.loss);
    std::printf("perplexity  %.6g\n", std::exp(e.loss));
    if (bytes)
        std::printf("bits        %.6f a byte\n", bits);
    else
        std::printf(
            "bits        %.6f a token (how many bytes of text that is, shards do not say)\n", bits);
}

// The model as a run that has done no step: settings, loss and measurements.
template <class Real>
void keep(Model<Real>& model, const Data& data, const RunConfig& run, double loss) {
    save_durably(run.out + "/config.json", run.json);
    MetricsFiles(run.out, 0).add_validation(0, loss);
    ProbeFile(run.out, 0, {}).add(0, measure(model, probe_batch(data, run)));
}

}  // namespace

template <class Real>
double validation_loss(Model<Real>& model, const Data& data, const RunConfig& run) {
    return evaluate(model, held_out(run, data), run.micro()).loss;
}

template <class Real>
void print_evaluation(RunConfig run) {
    const std::unique_ptr<Data> data = open_whole(run);
    check_memory<Real>(run);
    require_same_run(run, data->describe());
    const bool kept = !run.out.empty() && comm::rank() == 0;
    std::optional<RunDirectory> directory;
    if (kept) directory.emplace(run.out, false);
    Model<Real> model(run.model, run.batch, run.seq, Purpose::inference);
    load_weights(run.init_from, model);
    std::printf("weights     %s\n", run.init_from.c_str());
    if (run.data.empty())
        std::printf(
            "data        the built-in stories' validation set: %d batches of %d x %d tokens\n",
            run.val_batches, run.sequences(), run.seq);
    else
        std::printf("data        all of %s, in windows of %d tokens\n", run.data.c_str(), run.seq);
    const Evaluation result = evaluate(model, batches(run, *data), run.batch);
    if (!std::isfinite(result.loss))
        throw UserError(run.model.fake_quant.any()
                            ? "the loss is not finite: --fake-quant " + run.fake_quant_text +
                                  " does not hold the numbers of --init-from " + run.init_from +
                                  "; choose a format with a larger range"
                            : "the loss is not finite: the weights of --init-from " +
                                  run.init_from + " have diverged; choose an earlier checkpoint");
    print(result, data->bytes());
    if (!kept) return;
    keep(model, *data, run, result.loss);
    directory.reset();  // the page would wait for its end
    run.viewed = {run.out};
    view(run);
}

#define INSTANTIATE(Real) \
    template Evaluation evaluate(Model<Real>&, const std::function<Batch(int64_t)>&, int);
INSTANTIATE(double)
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE
template double validation_loss(Model<float>&, const Data&, const RunConfig&);
template double validation_loss(Model<bf16>&, const Data&, const RunConfig&);
template double validation_loss(Model<fp16>&, const Data&, const RunConfig&);
template void print_evaluation<float>(RunConfig);
template void print_evaluation<bf16>(RunConfig);
template void print_evaluation<fp16>(RunConfig);

}  // namespace peri
