#include "run/flags.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cxxopts.hpp>
#include <filesystem>

#include "check.h"
#include "number.h"
#include "open_file.h"
#include "run/settings.h"
#include "store/saved.h"

namespace peri {

namespace {

using enum Kind;

const Choices<bool>& optimizers() {
    static const Choices<bool> choices = {{"adamw", false}, {"sgd", true}};
    return choices;
}
const Choices<bool>& on_divergence() {
    static const Choices<bool> choices = {{"stop", true}, {"continue", false}};
    return choices;
}
const Choices<Precision>& precisions() {
    static const Choices<Precision> choices = {{"fp32", Precision::fp32},
                                               {"tf32", Precision::tf32},
                                               {"bf16", Precision::bf16},
                                               {"fp16", Precision::fp16}};
    return choices;
}
const Choices<AttentionBy>& attentions() {
    static const Choices<AttentionBy> choices = {{"auto", AttentionBy::automatic},
                                                 {"tiles", AttentionBy::tiles},
                                                 {"library", AttentionBy::library}};
    return choices;
}
const Choices<Draw>& draws() {
    static const Choices<Draw> choices = {{"random", Draw::random}, {"once", Draw::once}};
    return choices;
}
const Choices<Tune>& tunes() {
    static const Choices<Tune> choices = {
        {"on", Tune::on}, {"off", Tune::off}, {"again", Tune::again}};
    return choices;
}
const Choices<ExportDtype>& export_dtypes() {
    static const Choices<ExportDtype> choices = {{"stored", ExportDtype::stored},
                                                 {"fp32", ExportDtype::fp32},
                                                 {"bf16", ExportDtype::bf16},
                                                 {"fp16", ExportDtype::fp16}};
    return choices;
}

// A default as the user would write it.
std::string of(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return text;
}

// Every flag: group of --help, name, kind, default, range, whether a run's config.json holds it (not
// what a repetition of the run would choose anew), help. The defaults are those of RunConfig.
// clang-format off
const std::vector<Flag>& table() {
    static const std::vector<Flag> flags = [] {
        constexpr bool saved = true, no = false;
        const RunConfig d;
        std::string names, sizes_known;
        for (const std::string& name : placement_names()) names += name + ", ";
        for (const Size& size : sizes()) sizes_known += (sizes_known.empty() ? "" : ", ") + std::string(size.name);
        return std::vector<Flag>{
        {"model", "norm", word, d.model.norm, {}, saved, "placement: " + names + "or a list of layers such as post:3,peri:9; list: prints them with their equations"},
        {"model", "size", word, "small", {}, saved, sizes_known + "; the five flags below change a part of it"},
        {"model", "layers", integer, "", {1, 10e3}, saved, "number of layers (attention and MLP each)"},
        {"model", "width", integer, "", {1, 1 << 20}, saved, "width of the hidden state"},
        {"model", "heads", integer, "", {1, 1 << 20}, saved, "attention heads"},
        {"model", "ffn", integer, "", {1, 1 << 20}, saved, "width of the MLP"},
        {"model", "seq", integer, "", {1, 1 << 24}, saved, "tokens a sequence"},
        {"model", "kv-heads", integer, "", {1, 1 << 20}, saved, "key/value heads, a divisor of --heads (default: as --heads)"},
        {"model", "vocab", integer, "", {1, 1 << 24}, saved, "tokens in the vocabulary (default: what the data needs)"},
        {"model", "qk-norm", word, d.qk_norm, {}, saved, "norms of queries and keys: auto, none, head, full"},
        {"model", "embedding-norm", word, word_for(d.embedding_norm, automatic_on_off()), {}, saved, words(automatic_on_off())},
        {"model", "final-norm", word, word_for(d.final_norm, automatic_on_off()), {}, saved, words(automatic_on_off())},
        {"model", "layernorm", toggle, "", {}, saved, "LayerNorm in place of RMSNorm (Appendix G.4)"},
        {"model", "freeze-output-gamma", toggle, "", {}, saved, "output norms keep gamma = 1, and beta = 0 (Section 5.3)"},
        {"model", "init", word, d.init, {}, saved, "auto, normal:S, xavier, d:K (variance K / width), he, lecun"},
        {"model", "embedding-init", number, of(d.model.embedding_std), {0, 1e6}, saved, "standard deviation of the initial embedding; 0: as --init says"},
        {"model", "state-scale", number, of(d.model.state_scale), {1e-6, 1e6}, saved, "begin with hidden states so many times as large and the same function: what writes into them (embedding, o and down, or the gammas of norms there) is scaled"},
        {"model", "rope-base", number, of(d.model.rope_base), {1e-3, 1e12}, saved, "base of the rotary angles"},
        {"model", "norm-eps", number, of(d.model.norm_eps), {0, 1}, saved, "eps inside every norm"},
        {"data", "data", file, "", {}, saved, "a text file (read as bytes), token shards such as 'shards/*.bin', or samples to fine-tune on (.jsonl: prompt and completion) (default: the built-in stories)"},
        {"data", "val-data", file, "", {}, saved, "likewise, for validation (default: the last 5 % of --data)"},
        {"data", "draw", word, word_for(d.draw, draws()), {}, saved, "random: a sequence begins anywhere in --data; once: windows of --seq tokens, each once before any a second time"},
        {"data", "document-mask", toggle, "", {}, saved, "attention does not cross documents: a token sees those from the latest --separator on (RoPE counts positions as without)"},
        {"data", "separator", integer, "", {0, (1 << 24) - 1}, saved, "token that begins each document, itself the first of it (default: 0 for bytes, 50256, 100257 or 199999 where the vocabulary's size is that of gpt2, cl100k_base or o200k_base)"},
        {"data", "batch", integer, of(d.batch), {1, 1 << 20}, saved, "sequences computed at once"},
        {"data", "accumulate", integer, of(d.accumulate), {1, 1 << 20}, saved, "how many such batches make a step: their gradients sum, memory is that of one"},
        {"data", "seed", integer, of(d.seed), {0, 9e15}, saved, "of weights and batches"},
        {"data", "reproducible", toggle, "", {}, saved, "the same bits for 1, 2, 4, 8, ... processes that share a step (train_mpi): its --accumulate micro-batches are added in a tree"},
        {"training", "steps", integer, of(d.schedule.steps), {1, 1e12}, saved, "optimizer steps"},
        {"training", "epochs", integer, of(d.epochs), {0, 1e6}, saved, "in place of --steps: how often every sample of a .jsonl file is trained on"},
        {"training", "lr", number, of(d.schedule.max_lr), {0, 100}, saved, "peak learning rate"},
        {"training", "warmup", number, of(d.schedule.warmup), {0, 1}, saved, "share of the steps"},
        {"training", "decay", word, word_for(d.schedule.decay, decays()), {}, saved, words(decays())},
        {"training", "min-lr", number, of(d.schedule.min_lr), {0, 1e6}, saved, "final learning rate, as a share of --lr; above 1 it rises (of all but --decay constant)"},
        {"training", "optimizer", word, word_for(d.optimizer.sgd, optimizers()), {}, saved, words(optimizers())},
        {"training", "weight-decay", number, of(d.optimizer.weight_decay), {0, 100}, saved, "of matrices"},
        {"training", "clip", number, of(d.optimizer.clip), {0, 1e9}, saved, "largest gradient norm; 0: none"},
        {"training", "z-loss", number, of(d.model.z_loss), {0, 100}, saved, "weight of (log Z)^2 beside the loss, Z the softmax's sum (PaLM: 1e-4); losses printed are without it; 0: none"},
        {"training", "beta1", number, of(d.optimizer.beta1), {0, 0.999999}, saved, "AdamW"},
        {"training", "beta2", number, of(d.optimizer.beta2), {0, 0.999999}, saved, "AdamW"},
        {"training", "momentum", number, of(d.optimizer.momentum), {0, 0.999999}, saved, "SGD"},
        {"training", "precision", word, word_for(d.precision, precisions()), {}, saved, "fp32, tf32 (fp32 with products in tf32, on NVIDIA GPUs), bf16 or fp16 (matrices and activations; sums, gradients, moments and master weights stay fp32)"},
        {"training", "loss-scale", word, d.loss_scale_text, {}, saved, "what gradients are multiplied by on their way back: dynamic (a step that is not finite is skipped and halves it, 2000 good ones double it), N (a power of two, which stays), off; auto: dynamic for fp16, off elsewhere"},
        {"training", "fake-quant", word, d.fake_quant_text, {}, saved, "none, or FORMAT[:WHERE],...: forward rounds to int8, int4 (one step a token, a row of a matrix; int8-tensor, int4-tensor: one for all), e4m3, e5m2 (e4m3-sat, e5m2-sat: saturating), fp16 or bf16, backward passes as if it had not; WHERE: hidden (states, the default), outputs (of attention and MLP), weights (of sub-layers)"},
        {"training", "attention", word, word_for(d.attention, attentions()), {}, saved, "on NVIDIA GPUs: tiles (this project's kernels), library (cuDNN for bf16, without --document-mask, from 64 tokens a sequence, heads of a multiple of 8 up to 256; tiles elsewhere), auto (library where it is built in and 4 GiB of workspace suffice for a sequence)"},
        {"training", "recompute", word, word_for(d.model.recompute, recomputes()), {}, saved, "none, norms (and SwiGLU), sublayers: what backward computes again in place of keeping it; same bits, less memory"},
        {"training", "threads", integer, of(d.threads), {0, 4096}, saved, "CPU threads; 0: all"},
        {"training", "tune", word, word_for(d.tune, tunes()), {}, saved, "on: compute each matrix product by the library that was fastest when it was first timed on this machine (the choice, which changes the last bits, is kept in the user's cache); again: time them anew; off"},
        {"run", "out", directory, "", {}, no, "directory for settings, metrics, measurements and checkpoints (default: runs/<date>-<norm>)"},
        {"run", "config", file, "", {}, no, "a file of settings, such as a run's config.json; flags override it (a switch by --layernorm=false)"},
        {"run", "init-from", path, "", {}, saved, "start from these weights: a run's directory (its newest checkpoint), a checkpoint's, or a safetensors file"},
        {"run", "resume", path, "", {}, no, "go on from a checkpoint's directory, or from the newest good one in --out: auto"},
        {"run", "save-every", integer, of(d.save_every), {0, 1e9}, saved, "steps between checkpoints, OUT/step-...; one more is made at the end; 0: none but where the run is interrupted"},
        {"run", "keep", integer, of(d.keep), {0, 1e6}, saved, "checkpoints that are kept, the newest; 0: all"},
        {"run", "keep-best", toggle, "", {}, saved, "also keep the weights of the lowest validation loss so far: OUT/best-..."},
        {"run", "val-every", integer, of(d.val_every), {0, 1e9}, saved, "steps between validations; 0: only at the end"},
        {"run", "val-batches", integer, of(d.val_batches), {1, 1 << 20}, saved, "held-out batches of a validation"},
        {"run", "probe-every", integer, of(d.probe_every), {0, 1e9}, saved, "steps between the paper's measurements (OUT/probe.csv), which are made at the start and the end too; 0: none at all"},
        {"run", "sharpness-every", integer, of(d.sharpness_every), {0, 1e9}, saved, "steps between measurements of the largest eigenvalues of the loss's Hessians (rows of OUT/probe.csv), in double on the CPU, each some hundred gradients; 0: none"},
        {"run", "on-divergence", word, word_for(d.stop_on_divergence, on_divergence()), {}, saved, "stop (exit code 3), continue"},
        {"run", "patience", number, of(d.patience), {0.1, 1e6}, no, "seconds that one process of several waits for another before all end"},
        {"run", "quiet", toggle, "", {}, no, "only the summary"},
        {"run", "verbose", toggle, "", {}, no, "also print which library computes which product"},
        {"run", "profile", toggle, "", {}, no, "at the end a table of what each kernel took of a step, and of what the machine can do (OUT/profile.csv)"},
        {"run", "help", toggle, "", {}, no, "this text"},
        {"other job", "evaluate", toggle, "", {}, no, "print loss, perplexity and bits per byte of --init-from over all of --data, in place of training; with --out also measure the model (OUT/probe.csv) and draw that (OUT/view.html)"},
        {"other job", "generate", integer, of(d.generate), {0, 1e9}, no, "write so many tokens with the weights of --init-from, in place of training; 0: train"},
        {"other job", "prompt", text, "", {}, no, "what --generate continues: text, or token numbers where tokens are not bytes (default: a new text)"},
        {"other job", "temperature", number, of(d.sampling.temperature), {0, 1000}, no, "--generate draws from softmax(logits / temperature); 0: the likeliest token"},
        {"other job", "top-k", integer, of(d.sampling.top_k), {0, 1 << 24}, no, "--generate draws from the so many likeliest tokens; 0: from all"},
        {"other job", "top-p", number, of(d.sampling.top_p), {0, 1}, no, "--generate draws from the fewest likeliest tokens that hold this share of probability"},
        {"other job", "stop-at", integer, "", {0, 1 << 24}, no, "--generate ends before this token, such as 0, the end of a text of bytes"},
        {"other job", "export-hf", directory, "", {}, no, "write the weights of --init-from as a model of Hugging Face transformers into this new directory, in place of training"},
        {"other job", "export-as", word, d.export_as, {}, no, "architecture of --export-hf: llama (pre), glm4 (peri), olmo2, peri (any, by Python code of its own); auto: the first that is exact"},
        {"other job", "export-dtype", word, word_for(d.export_dtype, export_dtypes()), {}, no, "numbers of --export-hf: stored (as they are), fp32, bf16, fp16"},
        {"other job", "import-hf", directory, "", {}, no, "write a model of Hugging Face transformers, its directory with config.json and safetensors (Llama, GLM-4, OLMo-2), to --out, a new directory, as weights for --init-from, in place of training"},
        {"other job", "view", toggle, "", {}, no, "write a page that draws runs, such as --view runs/peri runs/pre, to OUT/view.html (without --out in the first of them), and anew as long as one of them trains"},
        {"other job", "check", integer, of(d.check), {0, 1e6}, no, "run so many steps beside the oracle (double, on the CPU) in place of training and name the first tensor that differs (exit code 4); 0: train"},
        {"other job", "dry-run", toggle, "", {}, no, "print parameters, memory and what fits; allocate nothing; with --vocab, read no data"},
        {"other job", "ranks", integer, "", {1, 65536}, no, "with --dry-run: so many processes share a step"},
        {"other job", "memory", number, "", {1e-3, 1e6}, no, "plan for a device of so many GB (10^9 bytes) instead of what this one has left"},
        };
    }();
    return flags;
}
// clang-format on

// What stands for the value in --help.
std::string name_of_value(Kind kind) {
    switch (kind) {
        case toggle:
            return "";
        case number:
        case integer:
            return "N";
        case file:
            return "FILE";
        case directory:
            return "DIR";
        case path:
            return "PATH";
        case text:
            return "TEXT";
        case word:
            return "WORD";
    }
    CHECK(!"a kind without a name");
    return "";
}

// cxxopts 2 has no such setting
template <class Options>
void set_width(Options& options, size_t columns) {
    if constexpr (requires { options.set_width(columns); }) options.set_width(columns);
}

cxxopts::Options declare() {
    cxxopts::Options options(
        "./train",
        "Trains a Transformer with its norms placed as you say, such as\n"
        "  ./train --norm peri\n"
        "  ./train --norm pre --data book.txt --lr 8e-3 --steps 1000 --out runs/pre\n"
        "Exit codes: 0 done, 2 something to mend, 3 diverged, 4 --check found a difference,\n"
        "130 and 143 interrupted after saving.\n");
    set_width(options, 100);
    for (const Flag& flag : table()) {
        const std::string value = flag.value;
        auto kind = flag.kind == toggle ? cxxopts::value<bool>() : cxxopts::value<std::string>();
        if (!value.empty()) kind = cxxopts::value<std::string>()->default_value(value);
        options.add_options(flag.group)(flag.name, flag.help, kind, name_of_value(flag.kind));
    }
    return options;
}

// The settings of the run that --resume goes on with; "" where `auto` may find none.
std::string saved_settings(const Settings& settings) {
    const std::string which = settings.path("resume");
    if (which.empty()) return "";
    if (which != "auto" && !is_there(which + "/model.safetensors"))
        throw UserError("--resume " + which + " is no checkpoint's directory: " +
                        (!is_there(which) || saved_steps(which).empty()
                             ? "name one, such as runs/a/step-00001000"
                             : "give --resume auto --out " + which));
    if (which != "auto") return which + "/config.json";
    const std::string out = settings.path("out");
    if (is_there(out + "/config.json")) return out + "/config.json";
    for (const SavedStep& saved : saved_steps(out))
        if (is_there(saved.path + "/config.json")) return saved.path + "/config.json";
    if (is_there(out + "/metrics.csv"))
        throw UserError("--resume auto: --out " + out +
                        " holds a run (metrics.csv), but neither its settings (config.json) nor a "
                        "checkpoint that has them: put config.json back, or choose another --out");
    return "";
}

// The settings of the run that --evaluate, --generate and --export-hf take their weights from; "" if
// not known.
std::string settings_of_weights(const Settings& settings) {
    if (!settings.on("evaluate") && !settings.given("generate") && !settings.given("export-hf"))
        return "";
    const std::string path = settings.text("init-from") + "/config.json";
    return settings.given("init-from") && is_there(path) ? path : "";
}

// Command line, then settings file, then the settings of the weights, then defaults.
Settings merge(const cxxopts::ParseResult& given) {
    Settings settings(table());
    for (const Flag& flag : table()) {
        if (!given.count(flag.name)) continue;
        if (flag.kind == toggle)
            settings.set(flag.name, given[flag.name].as<bool>() ? "true" : "false");
        else
            settings.set(flag.name, given[flag.name].as<std::string>());
    }
    if (settings.given("config"))
        settings.read_file("config", settings.text("config"), FileOf::anyone);
    if (settings.given("init-from"))
        settings.set("init-from", weights_of(settings.path("init-from")));
    if (const std::string path = saved_settings(settings); !path.empty())
        settings.read_file("resume", path, FileOf::this_run);
    if (const std::string path = settings_of_weights(settings); !path.empty())
        settings.read_file("init-from", path, FileOf::anyone);
    // either takes the place of the other in a file
    const bool epochs = given.count("epochs") && settings.text("epochs") != "0";
    if (epochs && !given.count("steps")) settings.unset("steps");
    if (given.count("steps") && !given.count("epochs")) settings.unset("epochs");
    return settings;
}

// Words that belong to no flag: cxxopts 3 keeps them, cxxopts 2 leaves them in argv.
template <class Result>
std::vector<std::string> left_over(const Result& flags, int argc, char** argv) {
    if constexpr (requires { flags.unmatched(); })
        return flags.unmatched();
    else
        return {argv + std::min(argc, 1), argv + argc};
}

// The size's value, or the flag's where it is given.
int count_or(const Settings& flags, const std::string& flag, int otherwise) {
    return flags.given(flag) ? flags.count(flag) : otherwise;
}

// What the flag's word stands for.
template <class Value>
Value read_choice(const Settings& flags, const std::string& flag, const Choices<Value>& choices) {
    return choose(flag, flags.text(flag), choices);
}

// "" where the flag is not given; given, it must say something.
std::string text_or_nothing(const Settings& flags, const std::string& flag) {
    if (!flags.given(flag)) return "";
    const std::string text = flags.text(flag);
    if (text.empty()) throw UserError("--" + flag + " is empty: name one, or leave the flag out");
    return text;
}

void read_model(RunConfig& run, const Settings& flags) {
    const Size& size = find_size(flags.text("size"));
    ModelConfig& m = run.model;
    m = model_of(size);
    m.layers = count_or(flags, "layers", m.layers);
    m.width = count_or(flags, "width", m.width);
    m.heads = count_or(flags, "heads", m.heads);
    m.kv_heads = count_or(flags, "kv-heads", m.heads);
    m.ffn = count_or(flags, "ffn", m.ffn);
    run.vocab = count_or(flags, "vocab", 0);
    run.seq = count_or(flags, "seq", size.seq);
    m.norm = flags.text("norm");
    m.rope_base = flags.number("rope-base");
    m.norm_eps = flags.number("norm-eps");
    m.layernorm = flags.on("layernorm");
    m.freeze_output_gamma = flags.on("freeze-output-gamma");
    run.init = flags.text("init");
    m.init = parse_init(run.init);
    m.embedding_std = flags.number("embedding-init");
    m.state_scale = flags.number("state-scale");
    run.qk_norm = flags.text("qk-norm");
    run.embedding_norm = read_choice(flags, "embedding-norm", automatic_on_off());
    run.final_norm = read_choice(flags, "final-norm", automatic_on_off());
}

LossScale read_loss_scale(const std::string& text, Precision precision) {
    const bool automatic = text == "auto";
    if (text == "off" || (automatic && precision != Precision::fp16)) return {0, 0, 0, 0};
    if (text == "dynamic" || automatic) return {0x1p16f, 2000, 0, 0};
    double scale = 0;
    int exponent = 0;
    if (!parse_number(scale, text) || !(scale >= 1 && scale <= 0x1p60) ||
        std::frexp(scale, &exponent) != 0.5)
        throw UserError("--loss-scale " + text +
                        " must be auto, dynamic, off or a power of two from 1 to 2^60");
    return {static_cast<float>(scale), 0, 0, 0};
}

void read_training(RunConfig& run, const Settings& flags) {
    run.epochs = flags.integer("epochs");
    const int64_t steps = flags.integer("steps");
    run.schedule.steps = run.epochs && !flags.given("steps") ? 0 : steps;
    run.schedule.max_lr = flags.number("lr");
    run.schedule.warmup = flags.number("warmup");
    run.schedule.min_lr = flags.number("min-lr");
    run.schedule.decay = read_choice(flags, "decay", decays());
    if (run.schedule.decay == Decay::exponential && run.schedule.min_lr == 0)
        throw UserError(
            "--decay exponential never comes to --min-lr 0: give a --min-lr above 0, such as 0.01");
    OptimizerSettings& s = run.optimizer;
    s.sgd = read_choice(flags, "optimizer", optimizers());
    s.weight_decay = flags.number("weight-decay");
    s.clip = flags.number("clip");
    run.model.z_loss = flags.number("z-loss");
    s.beta1 = flags.number("beta1");
    s.beta2 = flags.number("beta2");
    s.momentum = flags.number("momentum");
    run.precision = read_choice(flags, "precision", precisions());
    run.loss_scale_text = flags.text("loss-scale");
    run.loss_scale = read_loss_scale(run.loss_scale_text, run.precision);
    run.fake_quant_text = flags.text("fake-quant");
    run.model.fake_quant = parse_fake_quant(run.fake_quant_text);
    run.attention = read_choice(flags, "attention", attentions());
    run.model.recompute = read_choice(flags, "recompute", recomputes());
    run.tune = read_choice(flags, "tune", tunes());
    run.threads = flags.count("threads");
}

void read_data_and_run(RunConfig& run, const Settings& flags) {
    run.data = text_or_nothing(flags, "data");
    run.val_data = text_or_nothing(flags, "val-data");
    run.draw = read_choice(flags, "draw", draws());
    run.model.document_mask = flags.on("document-mask");
    if (flags.given("separator")) run.separator = flags.count("separator");
    run.batch = flags.count("batch");
    run.accumulate = flags.count("accumulate");
    run.seed = static_cast<uint64_t>(flags.integer("seed"));
    run.reproducible = flags.on("reproducible");
    run.patience = flags.number("patience");
    run.out = text_or_nothing(flags, "out");
    run.val_every = flags.count("val-every");
    run.val_batches = flags.count("val-batches");
    run.probe_every = flags.count("probe-every");
    run.sharpness_every = flags.count("sharpness-every");
    run.save_every = flags.count("save-every");
    run.keep = flags.count("keep");
    run.keep_best = flags.on("keep-best");
    run.resume = text_or_nothing(flags, "resume");
    if (run.resume == "auto" && run.out.empty())
        throw UserError("--resume auto needs --out, the directory of the run");
    if (run.resume != "" && run.resume != "auto" && run.out.empty())
        run.out = directory_above(run.resume);
    run.stop_on_divergence = read_choice(flags, "on-divergence", on_divergence());
    if (flags.given("memory")) run.memory = static_cast<size_t>(1e9 * flags.number("memory"));
    run.quiet = flags.on("quiet");
    run.verbose = flags.on("verbose");
    run.profile = flags.on("profile");
    run.dry_run = flags.on("dry-run");
    if (flags.given("ranks")) run.ranks = flags.count("ranks");
    if (flags.given("ranks") && !run.dry_run)
        throw UserError("--ranks is for --dry-run: mpirun -n N starts N processes of ./train_mpi");
}

// The one job that the flags ask for.
Job job_of(const RunConfig& run, const Settings& flags) {
    std::vector<std::pair<Job, std::string>> asked;
    if (flags.on("evaluate")) asked.emplace_back(Job::evaluate, "--evaluate");
    if (run.generate > 0) asked.emplace_back(Job::generate, "--generate");
    if (run.check > 0) asked.emplace_back(Job::check, "--check");
    if (!run.export_hf.empty()) asked.emplace_back(Job::export_hf, "--export-hf");
    if (!run.import_hf.empty()) asked.emplace_back(Job::import_hf, "--import-hf");
    if (flags.on("view")) asked.emplace_back(Job::view, "--view");
    if (asked.empty()) return Job::train;
    const auto& [job, flag] = asked.front();
    if (asked.size() > 1)
        throw UserError(flag + " and " + asked[1].second + " are one job each: choose one of them");
    if (job == Job::import_hf && run.out.empty())
        throw UserError(flag + " needs --out, the new directory for its weights");
    if (run.init_from.empty() && job <= Job::export_hf && job != Job::check)
        throw UserError(flag +
                        " needs weights: give --init-from the directory of a run or checkpoint, "
                        "such as runs/a or runs/a/step-00001000");
    return job;
}

// Those that the job reads or writes, of a settings file that may be a stranger's.
void check_paths(const RunConfig& run, const Settings& flags) {
    for (const char* flag : {"out", "resume", "export-hf", "import-hf"}) flags.path(flag);
    if (run.job == Job::train || run.job == Job::check || run.job == Job::evaluate)
        flags.path("data");
    if (run.job == Job::train || run.job == Job::check) flags.path("val-data");
}

void read_jobs(RunConfig& run, const Settings& flags) {
    run.init_from = text_or_nothing(flags, "init-from");
    run.check = flags.count("check");
    run.generate = flags.count("generate");
    run.prompt = flags.text("prompt");
    run.sampling.temperature = flags.number("temperature");
    run.sampling.top_k = flags.count("top-k");
    run.sampling.top_p = flags.number("top-p");
    if (flags.given("stop-at")) run.sampling.stop_at = flags.count("stop-at");
    run.export_hf = text_or_nothing(flags, "export-hf");
    run.import_hf = text_or_nothing(flags, "import-hf");
    run.export_as = flags.text("export-as");
    run.export_dtype = read_choice(flags, "export-dtype", export_dtypes());
    run.job = job_of(run, flags);
    run.of_stories = run.data.empty() && flags.given("steps");
    if (!run.resume.empty() && run.job != Job::train)
        throw UserError("--resume " + run.resume +
                        " is for training: leave it out, or the other job's flag");
    if (run.dry_run && run.job >= Job::export_hf)
        throw UserError(
            "--dry-run plans training, --check, --evaluate and --generate: leave it out");
    check_paths(run, flags);
    if (run.model.fake_quant.any() && (run.job == Job::check || run.job == Job::export_hf))
        throw UserError("--fake-quant " + run.fake_quant_text + ": " +
                        (run.job == Job::check
                             ? "rounding to few bits makes whole steps of last digits, so --check "
                               "cannot compare with the oracle; give --fake-quant none too"
                             : "no architecture of --export-hf rounds so; to write the weights as "
                               "they are give --fake-quant none too"));
    // Nothing of the sub-layers before is read again, but for their keys and values in generation.
    if (run.job == Job::evaluate) run.model.recompute = Recompute::sublayers;
    if (run.job == Job::generate) {
        run.model.recompute = Recompute::norms;
        run.batch = run.accumulate = 1;
    }
    for (const char* flag : {"prompt", "temperature", "top-k", "top-p", "stop-at"})
        if (flags.given(flag) && run.job != Job::generate)
            throw UserError(std::string("--") + flag +
                            " is for writing text: give --generate N too, or leave it out");
    for (const char* flag : {"export-as", "export-dtype"})
        if (flags.given(flag) && run.job != Job::export_hf)
            throw UserError(std::string("--") + flag +
                            " is for --export-hf DIR: give it too, or leave this out");
}

// A step's tokens lie in the host's memory.
void check_batch(const RunConfig& run) {
    const int64_t tokens = int64_t(run.batch) * run.seq;
    const std::string at_once =
        "--batch " + std::to_string(run.batch) + " times --seq " + std::to_string(run.seq);
    if (tokens > most_tokens) throw UserError(at_once + " is more than 2^24 tokens: choose less");
    if (tokens * run.accumulate > 1 << 28)
        throw UserError(at_once + " times --accumulate " + std::to_string(run.accumulate) +
                        " is more than 2^28 tokens a step: choose less");
}

void check_steps(const RunConfig& run) {
    if (run.check > run.schedule.steps)
        throw UserError("--check " + std::to_string(run.check) + " is more than the run's " +
                        std::to_string(run.schedule.steps) +
                        " steps: raise --steps, or check less");
}

RunConfig read_run(const Settings& flags) {
    RunConfig run;
    read_model(run, flags);
    read_training(run, flags);
    read_data_and_run(run, flags);
    read_jobs(run, flags);
    // of what a library never computes it needs no workspace
    if (run.model.document_mask || run.job == Job::generate) run.attention = AttentionBy::tiles;
    check_batch(run);
    run.model.vocab = run.vocab ? run.vocab : 256;
    resolve(run.model, run.qk_norm, run.embedding_norm, run.final_norm);
    if (run.schedule.steps) check_steps(run);
    run.json = flags.json(run.epochs ? std::set<std::string>{"steps"}  // they follow from the data
                                     : std::set<std::string>{});
    return run;
}

}  // namespace

std::optional<RunConfig> parse_flags(int argc, char** argv) {
    static cxxopts::Options options = declare();  // --view parses settings again
    const cxxopts::ParseResult given = [&] {
        try {
            return options.parse(argc, argv);
        } catch (const std::exception& e) {  // cxxopts 2 and 3 name their exceptions differently
            throw UserError(std::string(e.what()) + "; ./train --help lists the flags");
        }
    }();
    const std::vector<std::string> words = left_over(given, argc, argv);
    if (!words.empty() && !given.count("view"))
        throw UserError("'" + words[0] + "' belongs to no flag; ./train --help lists the flags");
    if (given.count("help")) {
        std::printf("%s", options.help({"model", "data", "training", "run", "other job"}).c_str());
        return {};
    }
    const Settings settings = merge(given);
    if (settings.text("norm") == "list") {
        std::printf("%s", placement_list().c_str());
        return {};
    }
    try {
        RunConfig run = read_run(settings);
        run.viewed = words;
        if (run.job == Job::view && words.empty())
            throw UserError("--view: name directories of runs, such as --view runs/peri runs/pre");
        return run;
    } catch (const UserError& e) {
        if (!settings.given("config")) throw;
        throw UserError(std::string(e.what()) + " (some settings are from " +
                        settings.text("config") + ")");
    }
}

Range range_of(const std::string& flag) {
    return std::ranges::find(table(), flag, &Flag::name)->range;
}

void choose_vocab(RunConfig& run, int needed) {
    ModelConfig& m = run.model;
    m.vocab = run.vocab ? run.vocab : needed;
    if (run.separator >= m.vocab)
        throw UserError("--separator " + std::to_string(run.separator) +
                        " is none of the model's tokens, 0 to " + std::to_string(m.vocab - 1) +
                        ": give one of them");
    const int known = end_of_text(m.vocab);
    if (m.document_mask && run.separator < 0 && (known < 0 || known >= needed))
        throw UserError("--document-mask: it is not known which of the data's " +
                        std::to_string(needed) +
                        " tokens begins a document: give its number by --separator");
    m.separator = run.separator >= 0 ? run.separator : std::max(known, 0);
}

void choose_steps(RunConfig& run, int64_t sequences_in_epoch) {
    if (run.epochs == 0) return;
    const std::string epochs = "--epochs " + std::to_string(run.epochs);
    if (sequences_in_epoch == 0)
        throw UserError(epochs + ": this data has no epochs, only a .jsonl file has: give --steps");
    const int64_t sequences = run.epochs * sequences_in_epoch;
    const int64_t steps = (sequences + run.sequences() - 1) / run.sequences();
    if (run.schedule.steps && run.schedule.steps != steps)
        throw UserError("--steps " + std::to_string(run.schedule.steps) + " and " + epochs +
                        ", which are " + std::to_string(steps) + " steps of " +
                        std::to_string(run.sequences()) + " samples: give one of the two");
    run.schedule.steps = steps;
    check_steps(run);
}

}  // namespace peri
