#include "run/fit.h"

#include <algorithm>

#include "check.h"
#include "comm.h"
#include "device.h"
#include "tree_accumulation.h"

namespace peri {

template <class Real>
MemoryPlan plan(const RunConfig& run) {
    MemoryPlan plan = plan_memory<Real>(run.model, run.micro(), run.seq, run.optimizer.moments(),
                                        run.purpose(), run.ranks);
    if (run.reproducible)
        plan.gradients *=
            1 + TreeAccumulation<Real>::buffers(run.sequences() / run.ranks / run.micro());
    return plan;
}

template <class Real>
size_t memory_for(const RunConfig& run) {
    if (run.memory) return run.memory;
    const int sharing = device_memory_is_host() ? comm::local_size() : 1;
    return device_memory_left<Real>() / sharing;
}

namespace {

// Bytes of host memory that --check needs for the oracle, beside what the backend's run needs.
size_t oracle_memory(const RunConfig& run) {
    const MemoryPlan plan = plan_memory<double>(
        run.model, run.micro(), run.seq, run.optimizer.moments(), Purpose::training, run.ranks);
    const size_t hidden = size_t(run.micro()) * run.seq * run.model.width * sizeof(double);
    // w, and the hidden states and gradients of the perturbed run
    return plan.total() + plan.weights + plan.gradients + (2 * run.model.layers + 2) * hidden;
}

// Bytes of host memory that --sharpness-every needs while it measures: a model in double, and vectors of all
// weights: where it is, where it looks, two gradients, Lanczos' three, Adam's scale and what it multiplies.
size_t curvature_memory(const RunConfig& run) {
    ModelConfig model = run.model;
    model.fake_quant = {};
    model.recompute = Recompute::none;
    const MemoryPlan plan =
        plan_memory<double>(model, run.sharpness_sequences(), run.seq, 0, Purpose::training, 1);
    return plan.total() + 10 * plan.gradients;
}

RunConfig with_batch(RunConfig run, int batch) {
    run.accumulate = run.sequences() / batch;
    run.batch = batch;
    return run;
}

// The row of the table of sizes that the model is; null if the user has made up its own.
const Size* size_of(const ModelConfig& c) {
    for (const Size& s : sizes())
        if (s.layers == c.layers && s.width == c.width && s.heads == c.heads && s.ffn == c.ffn)
            return &s;
    return nullptr;
}

// The run with another size; layers whose placements were listed one by one do not fit every size.
bool resize(RunConfig& run, const Size& size) {
    const ModelConfig other = model_of(size);
    ModelConfig& c = run.model;
    c.layers = other.layers;
    c.width = other.width;
    c.heads = other.heads;
    c.kv_heads = other.kv_heads;
    c.ffn = other.ffn;
    try {
        resolve(c, run.qk_norm, run.embedding_norm, run.final_norm);
    } catch (const UserError&) {
        return false;
    }
    return true;
}

std::string user(const RunConfig& run) {
    return run.ranks == 1 ? "this run" : "each of " + std::to_string(run.ranks) + " processes";
}

// "" where no batch fits.
template <class Real>
std::string fitting_flags(const RunConfig& run, size_t memory, const std::string& other_flags) {
    const int batch = largest_batch<Real>(run, memory);
    if (!batch) return "";
    const RunConfig fitting = with_batch(run, batch);
    std::string flags = other_flags + "--batch " + std::to_string(batch);
    if (fitting.accumulate > 1 || run.accumulate > 1)
        flags += " --accumulate " + std::to_string(fitting.accumulate);
    return flags + " fits (" + std::to_string(plan<Real>(fitting).total() >> 20) + " MiB)";
}

}  // namespace

template <class Real>
int largest_batch(const RunConfig& run, size_t memory) {
    for (int batch = std::min(std::max(1, run.sequences() / run.ranks), most_tokens / run.seq);
         batch >= 1; batch--)
        if (run.sequences() % batch == 0 && plan<Real>(with_batch(run, batch)).total() <= memory)
            return batch;
    return 0;
}

template <class Real>
std::string what_fits(const RunConfig& run, size_t memory) {
    const bool training = run.purpose() == Purpose::training;
    RunConfig other = run;
    for (const Recompute r : {Recompute::none, Recompute::norms, Recompute::sublayers}) {
        if (r < run.model.recompute || (!training && r != run.model.recompute)) continue;
        other.model.recompute = r;
        const std::string more =
            r == run.model.recompute ? "" : "--recompute " + word_for(r, recomputes()) + " ";
        if (const std::string flags = fitting_flags<Real>(other, memory, more); !flags.empty())
            return flags;
    }
    other = run;
    for (other.seq /= 2; other.seq >= 1; other.seq /= 2) {
        const std::string seq = "--seq " + std::to_string(other.seq) + " ";
        if (const std::string flags = fitting_flags<Real>(other, memory, seq); !flags.empty())
            return flags;
    }
    if (!training) return "these weights need a machine with more memory";
    const Size* const size = size_of(run.model);
    if (!size) return "choose a smaller --layers, --width or --ffn";
    for (size_t i = size - sizes().data(); i-- > 0;) {
        other = run;
        if (!resize(other, sizes()[i])) continue;
        const std::string size_and_seq =
            std::string("--size ") + sizes()[i].name + " --seq " + std::to_string(run.seq) + " ";
        if (const std::string flags = fitting_flags<Real>(other, memory, size_and_seq);
            !flags.empty())
            return flags;
    }
    return "no --size fits: use a machine with more memory";
}

template <class Real>
void check_memory(const RunConfig& run) {
    const size_t needed = plan<Real>(run).total(), left = memory_for<Real>(run);
    if (left && needed > left)
        throw UserError(user(run) + " needs " + std::to_string(needed >> 20) +
                        " MiB and there are " + std::to_string(left >> 20) +
                        " MiB left: " + what_fits<Real>(run, left));
    // on the CPU, beside the backend, and perhaps in the same memory
    const bool shared = device_memory_is_host(),
               one = run.memory && shared;  // --memory is a process's
    const bool measures = run.job == Job::train && run.sharpness_every;
    const size_t more = run.check ? oracle_memory(run) : measures ? curvature_memory(run) : 0;
    const size_t beside = one ? 1 : comm::local_size(), of_more = run.check ? beside : 1;
    const size_t all = more * of_more + (shared ? needed * beside : 0);
    const size_t host = one ? run.memory : device_memory_left<double>();
    if (!more || !host || all <= host) return;
    const std::string both = std::to_string(all >> 20) + " MiB and there are " +
                             std::to_string(host >> 20) + " MiB left: choose a smaller ";
    throw UserError(
        run.check ? "--check, which computes the run in double on the CPU too, needs " + both +
                        "--batch, --seq or --size"
                  : "--sharpness-every, which copies the model into double on the CPU, needs " +
                        both + "--size, or leave out --sharpness-every");
}

#define INSTANTIATE(Real)                                           \
    template MemoryPlan plan<Real>(const RunConfig&);               \
    template size_t memory_for<Real>(const RunConfig&);             \
    template int largest_batch<Real>(const RunConfig&, size_t);     \
    template std::string what_fits<Real>(const RunConfig&, size_t); \
    template void check_memory<Real>(const RunConfig&);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
