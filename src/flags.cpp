#include "flags.h"

#include <algorithm>
#include <cstdio>
#include <cxxopts.hpp>
#include <filesystem>

#include "check.h"
#include "saved.h"
#include "settings.h"

namespace peri {

namespace {

using enum Kind;

// clang-format off
const Flag table[] = {
    {"model", "norm", text, "peri", "placement: post, pre, peri, output, input-main, olmo2, keel, simple, mix, deep, or a list of layers such as post:3,peri:9"},
    {"model", "size", text, "small", "tiny, small, 124m, 400m, 1.5b, 3.2b; the five flags below change a part of it"},
    {"model", "layers", number, "", "number of layers (attention and MLP each)"},
    {"model", "width", number, "", "width of the hidden state"},
    {"model", "heads", number, "", "attention heads"},
    {"model", "ffn", number, "", "width of the MLP"},
    {"model", "seq", number, "", "tokens a sequence"},
    {"model", "kv-heads", number, "", "key/value heads, a divisor of --heads (default: as --heads)"},
    {"model", "vocab", number, "", "tokens in the vocabulary (default: what the data needs)"},
    {"model", "qk-norm", text, "auto", "norms of queries and keys: auto, none, head, full"},
    {"model", "embedding-norm", text, "auto", "auto, on, off"},
    {"model", "final-norm", text, "auto", "auto, on, off"},
    {"model", "layernorm", toggle, "", "LayerNorm in place of RMSNorm (Appendix G.4)"},
    {"model", "freeze-output-gamma", toggle, "", "output norms keep gamma = 1, and beta = 0 (Section 5.3)"},
    {"model", "init", text, "auto", "auto, normal:S, xavier, d:K (variance K / width), he, lecun"},
    {"model", "rope-base", number, "10000", "base of the rotary angles"},
    {"model", "norm-eps", number, "1e-5", "eps inside every norm"},
    {"data", "data", text, "", "a text file (read as bytes), token shards such as 'shards/*.bin', or samples to fine-tune on (.jsonl: prompt and completion) (default: the built-in stories)"},
    {"data", "val-data", text, "", "likewise, for validation (default: the last 5 % of --data)"},
    {"data", "document-mask", toggle, "", "attention does not cross documents: a token sees those from the latest --separator on (RoPE counts positions as without)"},
    {"data", "separator", number, "", "token that begins each document, itself the first of it (default: 0 for bytes, 50256, 100257 or 199999 where the vocabulary's size is that of gpt2, cl100k_base or o200k_base)"},
    {"data", "batch", number, "16", "sequences computed at once"},
    {"data", "accumulate", number, "1", "how many such batches make a step: their gradients sum, memory is that of one"},
    {"data", "seed", number, "1", "of weights and batches"},
    {"training", "steps", number, "200", "optimizer steps"},
    {"training", "epochs", number, "0", "in place of --steps: how often every sample of a .jsonl file is trained on"},
    {"training", "lr", number, "4e-3", "peak learning rate"},
    {"training", "warmup", number, "0.1", "share of the steps"},
    {"training", "decay", text, "cosine", "cosine, linear, constant, wsd"},
    {"training", "min-lr", number, "0", "final learning rate, as a share of the peak"},
    {"training", "optimizer", text, "adamw", "adamw, sgd"},
    {"training", "weight-decay", number, "0.033", "of matrices"},
    {"training", "clip", number, "1", "largest gradient norm; 0: none"},
    {"training", "z-loss", number, "0", "weight of (log Z)^2 beside the loss, Z the softmax's sum (PaLM: 1e-4); losses printed are without it; 0: none"},
    {"training", "beta1", number, "0.9", "AdamW"},
    {"training", "beta2", number, "0.95", "AdamW"},
    {"training", "momentum", number, "0.9", "SGD"},
    {"training", "precision", text, "fp32", "fp32, tf32 (fp32 with products in tf32, on NVIDIA GPUs), bf16 (matrices and activations; sums, gradients, moments and master weights stay fp32)"},
    {"training", "recompute", text, "none", "none, norms (and SwiGLU), sublayers: what backward computes again in place of keeping it; same bits, less memory"},
    {"training", "threads", number, "0", "CPU threads; 0: all"},
    {"training", "tune", text, "on", "on: compute each matrix product by the library that was fastest when it was first timed on this machine (the choice, which changes the last bits, is kept in the user's cache); again: time them anew; off"},
    {"run", "out", text, "", "directory for settings, metrics, measurements and checkpoints (default: runs/<date>-<norm>)"},
    {"run", "config", text, "", "a file of settings, such as a run's config.json; flags override it (a switch by --layernorm=false)"},
    {"run", "init-from", text, "", "start from these weights: a run's directory (its newest checkpoint), a checkpoint's, or a safetensors file"},
    {"run", "resume", text, "", "go on from a checkpoint's directory, or from the newest good one in --out: auto"},
    {"run", "save-every", number, "1000", "steps between checkpoints, OUT/step-...; one more is made at the end; 0: none at all"},
    {"run", "keep", number, "2", "checkpoints that are kept, the newest; 0: all"},
    {"run", "keep-best", toggle, "", "also keep the weights of the lowest validation loss so far: OUT/best-..."},
    {"run", "val-every", number, "100", "steps between validations; 0: only at the end"},
    {"run", "val-batches", number, "8", "held-out batches of a validation"},
    {"run", "probe-every", number, "100", "steps between the paper's measurements (OUT/probe.csv), which are made at the start and the end too; 0: none at all"},
    {"run", "on-divergence", text, "stop", "stop (exit code 3), continue"},
    {"run", "quiet", toggle, "", "only the summary"},
    {"run", "verbose", toggle, "", "also print which library computes which product"},
    {"run", "help", toggle, "", "this text"},
    {"other job", "evaluate", toggle, "", "print loss, perplexity and bits per byte of --init-from over all of --data, in place of training"},
    {"other job", "generate", number, "0", "write so many tokens with the weights of --init-from, in place of training; 0: train"},
    {"other job", "prompt", text, "", "what --generate continues: text, or token numbers where tokens are not bytes (default: a new text)"},
    {"other job", "temperature", number, "0.8", "--generate draws from softmax(logits / temperature); 0: the likeliest token"},
    {"other job", "top-k", number, "0", "--generate draws from the so many likeliest tokens; 0: from all"},
    {"other job", "top-p", number, "1", "--generate draws from the fewest likeliest tokens that hold this share of probability"},
    {"other job", "stop-at", number, "", "--generate ends before this token, such as 0, the end of a text of bytes"},
    {"other job", "export-hf", text, "", "write the weights of --init-from as a model of Hugging Face transformers into this new directory, in place of training"},
    {"other job", "export-as", text, "auto", "architecture of --export-hf: llama (pre), glm4 (peri), olmo2, peri (any, by Python code of its own); auto: the first that is exact"},
    {"other job", "export-dtype", text, "stored", "numbers of --export-hf: stored (as they are), fp32, bf16"},
    {"other job", "check", number, "0", "run so many steps beside the oracle (double, on the CPU) in place of training and name the first tensor that differs (exit code 4); 0: train"},
    {"other job", "dry-run", toggle, "", "print parameters, memory and what fits; allocate nothing; with --vocab, read no data"},
    {"other job", "memory", number, "", "plan for a device of so many GB (10^9 bytes) instead of what this one has left"},
};
// clang-format on

// What is not a setting of the run itself: a repetition of it would choose its own.
const std::set<std::string> not_saved = {
    "config", "out",     "quiet",     "verbose",   "dry-run",     "memory",      "check",
    "help",   "resume",  "evaluate",  "generate",  "prompt",      "temperature", "top-k",
    "top-p",  "stop-at", "export-hf", "export-as", "export-dtype"};

// What stands for the value in --help.
std::string name_of_value(const Flag& flag) {
    if (flag.kind == toggle) return "";
    if (flag.kind == number) return "N";
    const std::string name = flag.name;
    if (name == "data" || name == "val-data" || name == "config") return "FILE";
    if (name == "out" || name == "export-hf") return "DIR";
    if (name == "init-from" || name == "resume") return "PATH";
    return name == "prompt" ? "TEXT" : "WORD";
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
    for (const Flag& flag : table) {
        const std::string value = flag.value;
        auto kind = flag.kind == toggle ? cxxopts::value<bool>() : cxxopts::value<std::string>();
        if (!value.empty()) kind = cxxopts::value<std::string>()->default_value(value);
        options.add_options(flag.group)(flag.name, flag.help, kind, name_of_value(flag));
    }
    return options;
}

// The settings of the run that --resume goes on with; "" where `auto` may find none.
std::string saved_settings(const Settings& settings) {
    const std::string which = settings.text("resume");
    if (which.empty()) return "";
    if (which != "auto") return which + "/config.json";
    const std::string path = settings.text("out") + "/config.json";
    return std::filesystem::exists(path) ? path : "";
}

// The settings of the run that --evaluate, --generate and --export-hf take their weights from; "" if
// not known.
std::string settings_of_weights(const Settings& settings) {
    if (!settings.on("evaluate") && !settings.given("generate") && !settings.given("export-hf"))
        return "";
    const std::string path = settings.text("init-from") + "/config.json";
    return settings.given("init-from") && std::filesystem::exists(path) ? path : "";
}

// Command line, then settings file, then the settings of the weights, then defaults.
Settings merge(const cxxopts::ParseResult& given) {
    Settings settings(table);
    for (const Flag& flag : table) {
        if (!given.count(flag.name)) continue;
        if (flag.kind == toggle)
            settings.set(flag.name, given[flag.name].as<bool>() ? "true" : "false");
        else
            settings.set(flag.name, given[flag.name].as<std::string>());
    }
    if (settings.given("config")) settings.read_file(settings.text("config"));
    if (settings.given("init-from"))
        settings.set("init-from", weights_of(settings.text("init-from")));
    for (const std::string& path : {saved_settings(settings), settings_of_weights(settings)})
        if (!path.empty()) settings.read_file(path);
    return settings;
}

// A word that belongs to no flag: cxxopts 3 keeps it, cxxopts 2 leaves it in argv.
template <class Result>
std::string left_over(const Result& flags, int argc, char** argv) {
    if constexpr (requires { flags.unmatched(); })
        return flags.unmatched().empty() ? "" : flags.unmatched().front();
    else
        return argc > 1 ? argv[1] : "";
}

// The size's value, or the flag's where it is given.
int integer_or(const Settings& flags, const std::string& flag, int otherwise, int highest) {
    return flags.given(flag) ? static_cast<int>(flags.integer(flag, 1, highest)) : otherwise;
}

// "" where the flag is not given; given, it must say something.
std::string text_or_nothing(const Settings& flags, const std::string& flag) {
    if (!flags.given(flag)) return "";
    const std::string text = flags.text(flag);
    if (text.empty()) throw UserError("--" + flag + " is empty: name one, or leave the flag out");
    return text;
}

template <class Value>
Value one_of(const Settings& flags, const std::string& flag,
             const std::vector<std::pair<std::string, Value>>& choices) {
    const std::string text = flags.text(flag);
    std::string names;
    for (const auto& [name, value] : choices) {
        if (text == name) return value;
        names += (names.empty() ? "" : ", ") + name;
    }
    throw UserError("--" + flag + " " + text + ": choose one of " + names);
}

void read_model(RunConfig& run, const Settings& flags) {
    const Size& size = find_size(flags.text("size"));
    ModelConfig& m = run.model;
    m = model_of(size);
    m.layers = integer_or(flags, "layers", m.layers, 10'000);
    m.width = integer_or(flags, "width", m.width, 1 << 20);
    m.heads = integer_or(flags, "heads", m.heads, 1 << 20);
    m.kv_heads = integer_or(flags, "kv-heads", m.heads, 1 << 20);
    m.ffn = integer_or(flags, "ffn", m.ffn, 1 << 20);
    run.vocab = integer_or(flags, "vocab", 0, 1 << 24);
    run.seq = integer_or(flags, "seq", size.seq, 1 << 24);
    m.norm = flags.text("norm");
    m.rope_base = flags.number("rope-base", 1e-3, 1e12);
    m.norm_eps = flags.number("norm-eps", 0, 1);
    m.layernorm = flags.on("layernorm");
    m.freeze_output_gamma = flags.on("freeze-output-gamma");
    run.init = flags.text("init");
    m.init = parse_init(run.init);
    run.qk_norm = flags.text("qk-norm");
    run.embedding_norm = parse_choice("embedding-norm", flags.text("embedding-norm"));
    run.final_norm = parse_choice("final-norm", flags.text("final-norm"));
}

void read_training(RunConfig& run, const Settings& flags) {
    run.epochs = flags.integer("epochs", 0, 1e6);
    const int64_t steps = flags.integer("steps", 1, 1e12);
    run.schedule.steps = run.epochs && !flags.given("steps") ? 0 : steps;
    run.schedule.max_lr = flags.number("lr", 0, 100);
    run.schedule.warmup = flags.number("warmup", 0, 1);
    run.schedule.min_lr = flags.number("min-lr", 0, 1);
    run.decay = flags.text("decay");
    run.schedule.decay = one_of<Decay>(flags, "decay",
                                       {{"cosine", Decay::cosine},
                                        {"linear", Decay::linear},
                                        {"constant", Decay::constant},
                                        {"wsd", Decay::wsd}});
    OptimizerSettings& s = run.optimizer;
    s.sgd = one_of<bool>(flags, "optimizer", {{"adamw", false}, {"sgd", true}});
    s.weight_decay = flags.number("weight-decay", 0, 100);
    s.clip = flags.number("clip", 0, 1e9);
    run.model.z_loss = flags.number("z-loss", 0, 100);
    s.beta1 = flags.number("beta1", 0, 0.999999);
    s.beta2 = flags.number("beta2", 0, 0.999999);
    s.momentum = flags.number("momentum", 0, 0.999999);
    run.precision = one_of<Precision>(
        flags, "precision",
        {{"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}});
    run.model.recompute = one_of<Recompute>(flags, "recompute",
                                            {{"none", Recompute::none},
                                             {"norms", Recompute::norms},
                                             {"sublayers", Recompute::sublayers}});
    run.tune =
        one_of<Tune>(flags, "tune", {{"on", Tune::on}, {"off", Tune::off}, {"again", Tune::again}});
    run.threads = static_cast<int>(flags.integer("threads", 0, 4096));
}

void read_data_and_run(RunConfig& run, const Settings& flags) {
    run.data = text_or_nothing(flags, "data");
    run.val_data = text_or_nothing(flags, "val-data");
    run.model.document_mask = flags.on("document-mask");
    if (flags.given("separator"))
        run.separator = static_cast<int>(flags.integer("separator", 0, (1 << 24) - 1));
    run.batch = static_cast<int>(flags.integer("batch", 1, 1 << 20));
    run.accumulate = static_cast<int>(flags.integer("accumulate", 1, 1 << 20));
    run.seed = static_cast<uint64_t>(flags.integer("seed", 0, 9e15));
    run.out = text_or_nothing(flags, "out");
    run.val_every = static_cast<int>(flags.integer("val-every", 0, 1e9));
    run.val_batches = static_cast<int>(flags.integer("val-batches", 1, 1 << 20));
    run.probe_every = static_cast<int>(flags.integer("probe-every", 0, 1e9));
    run.save_every = static_cast<int>(flags.integer("save-every", 0, 1e9));
    run.keep = static_cast<int>(flags.integer("keep", 0, 1e6));
    run.keep_best = flags.on("keep-best");
    run.resume = text_or_nothing(flags, "resume");
    if (run.resume == "auto" && run.out.empty())
        throw UserError("--resume auto needs --out, the directory of the run");
    if (run.resume != "" && run.resume != "auto" && run.out.empty())
        run.out = std::filesystem::absolute(run.resume + "/.").parent_path().parent_path();
    run.stop_on_divergence =
        one_of<bool>(flags, "on-divergence", {{"stop", true}, {"continue", false}});
    run.check = static_cast<int>(flags.integer("check", 0, 1e6));
    if (flags.given("memory"))
        run.memory = static_cast<size_t>(1e9 * flags.number("memory", 1e-3, 1e6));
    run.quiet = flags.on("quiet");
    run.verbose = flags.on("verbose");
    run.dry_run = flags.on("dry-run");
}

void read_jobs(RunConfig& run, const Settings& flags) {
    run.init_from = text_or_nothing(flags, "init-from");
    run.evaluate = flags.on("evaluate");
    run.generate = static_cast<int>(flags.integer("generate", 0, 1e9));
    run.prompt = flags.text("prompt");
    run.sampling.temperature = flags.number("temperature", 0, 1000);
    run.sampling.top_k = static_cast<int>(flags.integer("top-k", 0, 1 << 24));
    run.sampling.top_p = flags.number("top-p", 0, 1);
    if (flags.given("stop-at"))
        run.sampling.stop_at = static_cast<int>(flags.integer("stop-at", 0, 1 << 24));
    // Nothing of the sub-layers before is read again, but for their keys and values in generation.
    if (run.evaluate) run.model.recompute = Recompute::sublayers;
    if (run.generate) {
        run.model.recompute = Recompute::norms;
        run.batch = run.accumulate = 1;
    }

    run.export_hf = text_or_nothing(flags, "export-hf");
    run.export_as = flags.text("export-as");
    run.export_dtype = one_of<ExportDtype>(flags, "export-dtype",
                                           {{"stored", ExportDtype::stored},
                                            {"fp32", ExportDtype::fp32},
                                            {"bf16", ExportDtype::bf16}});
    const bool exports = !run.export_hf.empty();

    if (run.evaluate + (run.generate > 0) + (run.check > 0) + exports > 1)
        throw UserError(
            "--evaluate, --generate, --check and --export-hf are one job each: choose one of them");
    if (run.init_from.empty() && (run.evaluate || run.generate || exports))
        throw UserError(std::string(run.evaluate   ? "--evaluate"
                                    : run.generate ? "--generate"
                                                   : "--export-hf") +
                        " needs weights: give --init-from the directory of a run or checkpoint, "
                        "such as runs/a or runs/a/step-00001000");
    for (const char* flag : {"prompt", "temperature", "top-k", "top-p"})
        if (flags.given(flag) && !run.generate)
            throw UserError(std::string("--") + flag +
                            " is for writing text: give --generate N too, or leave it out");
    for (const char* flag : {"export-as", "export-dtype"})
        if (flags.given(flag) && !exports)
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
    check_batch(run);
    run.model.vocab = run.vocab ? run.vocab : 256;
    resolve(run.model, run.qk_norm, run.embedding_norm, run.final_norm);
    if (run.schedule.steps) check_steps(run);
    std::set<std::string> except = not_saved;
    if (run.epochs) except.insert("steps");  // they follow from the data
    run.json = flags.json(except);
    return run;
}

}  // namespace

std::optional<RunConfig> parse_flags(int argc, char** argv) {
    cxxopts::Options options = declare();
    const cxxopts::ParseResult given = [&] {
        try {
            return options.parse(argc, argv);
        } catch (const std::exception& e) {  // cxxopts 2 and 3 name their exceptions differently
            throw UserError(std::string(e.what()) + "; ./train --help lists the flags");
        }
    }();
    if (const std::string word = left_over(given, argc, argv); !word.empty())
        throw UserError("'" + word + "' belongs to no flag; ./train --help lists the flags");
    if (given.count("help")) {
        std::printf("%s", options.help({"model", "data", "training", "run", "other job"}).c_str());
        return {};
    }
    const Settings settings = merge(given);
    try {
        return read_run(settings);
    } catch (const UserError& e) {
        if (!settings.given("config")) throw;
        throw UserError(std::string(e.what()) + " (some settings are from " +
                        settings.text("config") + ")");
    }
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
