#include "run/report.h"

#include <cstdio>
#include <cstring>

#include "run/fit.h"
#include "store/files.h"

namespace peri {

namespace {

const char* describe(Precision precision) {
    return precision == Precision::bf16   ? "bf16 with fp32 master weights"
           : precision == Precision::fp16 ? "fp16 with fp32 master weights"
           : precision == Precision::tf32 ? "fp32 with products in tf32"
                                          : "fp32";
}

}  // namespace

void print_error(const char* program, const std::string& what) {
    const char* const slash = std::strrchr(program, '/');
    std::fprintf(stderr, "%s: %s\n", slash ? slash + 1 : program, what.c_str());
}

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
                    word_for(p.qk, qk_norms()).c_str(), p.source);
        previous = &p;
    }
    std::printf("            %s with eps %g, embedding norm %s, final norm %s%s\n",
                m.layernorm ? "LayerNorm" : "RMSNorm", m.norm_eps, m.embedding_norm ? "on" : "off",
                m.final_norm ? "on" : "off", m.freeze_output_gamma ? ", output norms frozen" : "");
    std::printf(
        "model       %d layers, width %d, %d heads of %d (%d key/value), MLP %d, vocabulary %d\n",
        m.layers, m.width, m.heads, m.head_size(), m.kv_heads, m.ffn, m.vocab);
    if (m.document_mask)
        std::printf("            attention stays inside documents, which begin with token %d\n",
                    m.separator);
    std::printf("parameters  %.2f M, %.2f M without embedding and head\n", millions, without);
    const Schedule& schedule = run.schedule;
    const std::string micro = run.accumulate > 1 ? std::to_string(run.accumulate) + " x " : "";
    std::printf("training    %lld steps of %s%d x %d tokens, seed %llu, init %s\n",
                static_cast<long long>(schedule.steps), micro.c_str(), run.batch, run.seq,
                static_cast<unsigned long long>(run.seed), run.init.c_str());
    if (m.embedding_std > 0)
        std::printf("            the embedding starts with standard deviation %g\n",
                    m.embedding_std);
    if (m.state_scale != 1)
        std::printf("            hidden states begin %g times as large\n", m.state_scale);
    std::printf("            learning rate %g, %s", schedule.max_lr,
                word_for(schedule.decay, decays()).c_str());
    if (schedule.decay != Decay::constant) std::printf(" to %g", schedule.max_lr * schedule.min_lr);
    std::printf(", after %g %% warmup\n", 100 * schedule.warmup);
    const OptimizerSettings& o = run.optimizer;
    if (o.sgd)
        std::printf("            SGD, momentum %g", o.momentum);
    else
        std::printf("            AdamW, betas %g %g", o.beta1, o.beta2);
    std::printf(", weight decay %g, clip %g", o.weight_decay, o.clip);
    if (m.z_loss > 0) std::printf(", z-loss %g", m.z_loss);
    std::printf(", %s\n", describe(run.precision));
    if (m.fake_quant.any()) std::printf("            rounded to %s\n", run.fake_quant_text.c_str());
}

template <class Real>
void print_memory(const RunConfig& run) {
    const MemoryPlan p = plan<Real>(run);
    const auto mib = [](size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    std::printf(
        "memory      %.1f MiB: weights %.1f, gradients %.1f, optimizer %.1f, activations %.1f, "
        "workspace %.1f\n",
        mib(p.total()), mib(p.weights), mib(p.gradients), mib(p.optimizer), mib(p.activations),
        mib(p.workspace));
    if (!run.dry_run || run.purpose() == Purpose::inference) return;
    const size_t memory = memory_for<Real>(run);
    if (!memory) return;
    std::printf("of %.1f GB\n", 1e-9 * static_cast<double>(memory));
    for (const Recompute r : {Recompute::none, Recompute::norms, Recompute::sublayers}) {
        RunConfig other = run;
        other.model.recompute = r;
        const int batch = largest_batch<Real>(other, memory);
        other.batch = batch ? batch : 1;
        other.accumulate = run.sequences() / other.batch;
        std::printf("            --recompute %s: %s (%zu MiB)\n", word_for(r, recomputes()).c_str(),
                    batch ? ("--batch " + std::to_string(batch) + " --accumulate " +
                             std::to_string(run.sequences() / batch))
                                .c_str()
                          : "not even --batch 1",
                    plan<Real>(other).total() >> 20);
    }
}

template <class Real>
void print_profile(const Profile<Real>& profile, Ceilings ceilings, const std::string& directory) {
    if (profile.steps() == 0) return;
    const std::vector<KernelTime> kernels = profile.kernels();
    save_durably(directory + "/profile.csv", profile_csv(kernels, ceilings));
    std::printf("\nkernels, means of %d steps on %s\n%s", profile.steps(),
                backend_description().c_str(), profile_table(kernels, ceilings).c_str());
}

template void print_memory<float>(const RunConfig&);
template void print_memory<bf16>(const RunConfig&);
template void print_memory<fp16>(const RunConfig&);
template void print_profile(const Profile<float>&, Ceilings, const std::string&);
template void print_profile(const Profile<bf16>&, Ceilings, const std::string&);
template void print_profile(const Profile<fp16>&, Ceilings, const std::string&);

}  // namespace peri
