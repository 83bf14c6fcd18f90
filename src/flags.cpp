#include "flags.h"

#include <charconv>
#include <cstdio>
#include <cxxopts.hpp>

#include "check.h"

namespace peri {

namespace {

using Flags = cxxopts::ParseResult;

// clang-format off
struct Flag {
    const char *group, *name, *value, *help;  // value: the default; "": none; null: a switch
};
const Flag table[] = {
    {"model", "norm", "peri", "placement: post, pre, peri, output, input-main, olmo2, keel, simple, mix, deep, or a list of layers such as post:3,peri:9"},
    {"model", "size", "small", "tiny, small, 124m, 400m, 1.5b, 3.2b; the five flags below change a part of it"},
    {"model", "layers", "", "number of layers (attention and MLP each)"},
    {"model", "width", "", "width of the hidden state"},
    {"model", "heads", "", "attention heads"},
    {"model", "ffn", "", "width of the MLP"},
    {"model", "seq", "", "tokens a sequence"},
    {"model", "kv-heads", "", "key/value heads, a divisor of --heads (default: as --heads)"},
    {"model", "vocab", "", "tokens in the vocabulary (default: what the data needs)"},
    {"model", "qk-norm", "auto", "norms of queries and keys: auto, none, head, full"},
    {"model", "embedding-norm", "auto", "auto, on, off"},
    {"model", "final-norm", "auto", "auto, on, off"},
    {"model", "layernorm", nullptr, "LayerNorm in place of RMSNorm (Appendix G.4)"},
    {"model", "freeze-output-gamma", nullptr, "output norms keep gamma = 1, and beta = 0 (Section 5.3)"},
    {"model", "init", "auto", "auto, normal:S, xavier, d:K (variance K / width), he, lecun"},
    {"model", "rope-base", "10000", "base of the rotary angles"},
    {"model", "norm-eps", "1e-5", "eps inside every norm"},
    {"data", "data", "", "a text file (read as bytes), or token shards such as 'shards/*.bin' (default: the built-in stories)"},
    {"data", "val-data", "", "likewise, for validation (default: the last 5 % of --data)"},
    {"data", "batch", "16", "sequences a step"},
    {"data", "seed", "1", "of weights and batches"},
    {"training", "steps", "200", "optimizer steps"},
    {"training", "lr", "4e-3", "peak learning rate"},
    {"training", "warmup", "0.1", "share of the steps"},
    {"training", "decay", "cosine", "cosine, linear, constant, wsd"},
    {"training", "min-lr", "0", "final learning rate, as a share of the peak"},
    {"training", "optimizer", "adamw", "adamw, sgd"},
    {"training", "weight-decay", "0.033", "of matrices"},
    {"training", "clip", "1", "largest gradient norm; 0: none"},
    {"training", "beta1", "0.9", "AdamW"},
    {"training", "beta2", "0.95", "AdamW"},
    {"training", "momentum", "0.9", "SGD"},
    {"training", "precision", "fp32", "fp32, bf16 (matrices and activations; sums, gradients, moments and master weights stay fp32)"},
    {"training", "threads", "0", "CPU threads; 0: all"},
    {"training", "tune", "on", "on, off: time the libraries for the matrix products, use the faster (its choice changes the last bits)"},
    {"run", "out", "", "directory for metrics.csv (default: runs/<date>-<norm>)"},
    {"run", "val-every", "100", "steps between validations; 0: only at the end"},
    {"run", "val-batches", "8", "held-out batches of a validation"},
    {"run", "check", "0", "run so many steps beside the oracle (double, on the CPU) in place of training and name the first tensor that differs (exit code 4); 0: train"},
    {"run", "quiet", nullptr, "only the summary"},
    {"run", "verbose", nullptr, "also print which library computes which product"},
    {"run", "dry-run", nullptr, "print parameters and memory, allocate nothing"},
    {"run", "help", nullptr, "this text"},
};
// clang-format on

cxxopts::Options declare() {
    cxxopts::Options options("train", "Trains a Transformer with its norms placed as you say.\n");
    for (const Flag& flag : table) {
        const std::string value = flag.value ? flag.value : "";
        auto kind = flag.value ? cxxopts::value<std::string>() : cxxopts::value<bool>();
        if (!value.empty()) kind = cxxopts::value<std::string>()->default_value(value);
        options.add_options(flag.group)(flag.name, flag.help, kind);
    }
    return options;
}

// A word that belongs to no flag: cxxopts 3 keeps it, cxxopts 2 leaves it in argv.
template <class Result>
std::string left_over(const Result& flags, int argc, char** argv) {
    if constexpr (requires { flags.unmatched(); })
        return flags.unmatched().empty() ? "" : flags.unmatched().front();
    else
        return argc > 1 ? argv[1] : "";
}

double number(const Flags& flags, const std::string& flag, double lowest, double highest) {
    const std::string text = flags[flag].as<std::string>();
    double value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool read = error == std::errc() && stop == text.data() + text.size();
    if (!read || !(value >= lowest && value <= highest)) {
        char range[80];
        std::snprintf(range, sizeof range, "a number from %g to %g", lowest, highest);
        throw UserError("--" + flag + " " + text + " must be " + range);
    }
    return value;
}

int64_t integer(const Flags& flags, const std::string& flag, double lowest, double highest) {
    const double value = number(flags, flag, lowest, highest);
    if (value != std::floor(value))
        throw UserError("--" + flag + " " + flags[flag].as<std::string>() +
                        " must be a whole number");
    return static_cast<int64_t>(value);
}

// The size's value, or the flag's where it is given.
int integer_or(const Flags& flags, const std::string& flag, int otherwise, int highest) {
    return flags.count(flag) ? static_cast<int>(integer(flags, flag, 1, highest)) : otherwise;
}

// "" where the flag is not given; given, it must say something.
std::string text_or_nothing(const Flags& flags, const std::string& flag) {
    if (!flags.count(flag)) return "";
    const std::string text = flags[flag].as<std::string>();
    if (text.empty()) throw UserError("--" + flag + " is empty: name one, or leave the flag out");
    return text;
}

template <class Value>
Value one_of(const Flags& flags, const std::string& flag,
             const std::vector<std::pair<std::string, Value>>& choices) {
    const std::string text = flags[flag].as<std::string>();
    std::string names;
    for (const auto& [name, value] : choices) {
        if (text == name) return value;
        names += (names.empty() ? "" : ", ") + name;
    }
    throw UserError("--" + flag + " " + text + ": choose one of " + names);
}

void read_model(RunConfig& run, const Flags& flags) {
    const Size& size = find_size(flags["size"].as<std::string>());
    ModelConfig& m = run.model;
    m = model_of(size);
    m.layers = integer_or(flags, "layers", m.layers, 10'000);
    m.width = integer_or(flags, "width", m.width, 1 << 20);
    m.heads = integer_or(flags, "heads", m.heads, 1 << 20);
    m.kv_heads = integer_or(flags, "kv-heads", m.heads, 1 << 20);
    m.ffn = integer_or(flags, "ffn", m.ffn, 1 << 20);
    run.vocab = integer_or(flags, "vocab", 0, 1 << 24);
    run.seq = integer_or(flags, "seq", size.seq, 1 << 24);
    m.norm = flags["norm"].as<std::string>();
    m.rope_base = number(flags, "rope-base", 1e-3, 1e12);
    m.norm_eps = number(flags, "norm-eps", 0, 1);
    m.layernorm = flags["layernorm"].as<bool>();
    m.freeze_output_gamma = flags["freeze-output-gamma"].as<bool>();
    run.init = flags["init"].as<std::string>();
    m.init = parse_init(run.init);
    run.qk_norm = flags["qk-norm"].as<std::string>();
    run.embedding_norm = parse_choice("embedding-norm", flags["embedding-norm"].as<std::string>());
    run.final_norm = parse_choice("final-norm", flags["final-norm"].as<std::string>());
}

void read_training(RunConfig& run, const Flags& flags) {
    run.schedule.steps = integer(flags, "steps", 1, 1e12);
    run.schedule.peak = number(flags, "lr", 0, 100);
    run.schedule.warmup = number(flags, "warmup", 0, 1);
    run.schedule.lowest = number(flags, "min-lr", 0, 1);
    run.decay = flags["decay"].as<std::string>();
    run.schedule.decay = one_of<Decay>(flags, "decay",
                                       {{"cosine", Decay::cosine},
                                        {"linear", Decay::linear},
                                        {"constant", Decay::constant},
                                        {"wsd", Decay::wsd}});
    OptimizerSettings& s = run.optimizer;
    s.sgd = one_of<bool>(flags, "optimizer", {{"adamw", false}, {"sgd", true}});
    s.weight_decay = number(flags, "weight-decay", 0, 100);
    s.clip = number(flags, "clip", 0, 1e9);
    s.beta1 = number(flags, "beta1", 0, 0.999999);
    s.beta2 = number(flags, "beta2", 0, 0.999999);
    s.momentum = number(flags, "momentum", 0, 0.999999);
    run.bf16 = one_of<bool>(flags, "precision", {{"fp32", false}, {"bf16", true}});
    run.tune = one_of<bool>(flags, "tune", {{"on", true}, {"off", false}});
    run.threads = static_cast<int>(integer(flags, "threads", 0, 4096));
}

void read_data_and_run(RunConfig& run, const Flags& flags) {
    run.data = text_or_nothing(flags, "data");
    run.val_data = text_or_nothing(flags, "val-data");
    run.batch = static_cast<int>(integer(flags, "batch", 1, 1 << 20));
    run.seed = static_cast<uint64_t>(integer(flags, "seed", 0, 9e15));
    run.out = text_or_nothing(flags, "out");
    run.val_every = static_cast<int>(integer(flags, "val-every", 0, 1e9));
    run.val_batches = static_cast<int>(integer(flags, "val-batches", 1, 1 << 20));
    run.check = static_cast<int>(integer(flags, "check", 0, 1e6));
    if (run.check > run.schedule.steps)
        throw UserError("--check " + std::to_string(run.check) + " is more than --steps " +
                        std::to_string(run.schedule.steps) + ": raise --steps, or check less");
    run.quiet = flags["quiet"].as<bool>();
    run.verbose = flags["verbose"].as<bool>();
    run.dry_run = flags["dry-run"].as<bool>();
}

}  // namespace

std::optional<RunConfig> parse_flags(int argc, char** argv) {
    cxxopts::Options options = declare();
    const Flags flags = [&] {
        try {
            return options.parse(argc, argv);
        } catch (const std::exception& e) {  // cxxopts 2 and 3 name their exceptions differently
            throw UserError(std::string(e.what()) + "; ./train --help lists the flags");
        }
    }();
    if (const std::string word = left_over(flags, argc, argv); !word.empty())
        throw UserError("'" + word + "' belongs to no flag; ./train --help lists the flags");
    if (flags["help"].as<bool>()) {
        std::printf("%s", options.help({"model", "data", "training", "run"}).c_str());
        return {};
    }
    RunConfig run;
    read_model(run, flags);
    read_training(run, flags);
    read_data_and_run(run, flags);
    if (int64_t(run.batch) * run.seq > 1 << 24)
        throw UserError("--batch " + std::to_string(run.batch) + " times --seq " +
                        std::to_string(run.seq) + " is more than 2^24 tokens: choose less");
    run.model.vocab = run.vocab ? run.vocab : 256;
    resolve(run.model, run.qk_norm, run.embedding_norm, run.final_norm);
    return run;
}

}  // namespace peri
