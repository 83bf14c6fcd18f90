#include "flags.h"

#include <charconv>
#include <cstdio>
#include <cxxopts.hpp>

#include "check.h"

namespace peri {

namespace {

using Flags = cxxopts::ParseResult;

cxxopts::Options declare() {
    cxxopts::Options o("train", "Trains a Transformer with its norms placed as you say.\n");
    o.set_width(100);
    const auto text = [](const char* value) {
        return cxxopts::value<std::string>()->default_value(value);
    };
    const auto optional = [] { return cxxopts::value<std::string>(); };
    o.add_options("model")
        ("norm", "placement: post, pre, peri, output, input-main, olmo2, keel, simple, mix, deep, or a "
                 "list of layers such as post:3,peri:9", text("peri"))
        ("size", "tiny, small, 124m, 400m, 1.5b, 3.2b", text("small"))
        ("layers", "number of layers (attention and MLP each)", optional())
        ("width", "width of the hidden state", optional())
        ("heads", "attention heads", optional())
        ("kv-heads", "key/value heads, a divisor of --heads (default: as --heads)", optional())
        ("ffn", "width of the MLP", optional())
        ("vocab", "tokens in the vocabulary (default: what the data needs)", optional())
        ("qk-norm", "norms of queries and keys: auto, none, head, full", text("auto"))
        ("embedding-norm", "auto, on, off", text("auto"))
        ("final-norm", "auto, on, off", text("auto"))
        ("layernorm", "LayerNorm in place of RMSNorm (Appendix G.4)")
        ("freeze-output-gamma", "output norms keep gamma = 1 (Section 5.3)")
        ("init", "auto, normal:S, xavier, d:K (variance K / width), he, lecun", text("auto"))
        ("rope-base", "base of the rotary angles", text("10000"))
        ("norm-eps", "eps inside every norm", text("1e-5"));
    o.add_options("data")
        ("data", "a text file (read as bytes), or token shards such as 'shards/*.bin' (default: the "
                 "built-in stories)", text(""))
        ("val-data", "likewise, for validation (default: the last 5 % of --data)", text(""))
        ("batch", "sequences a step", text("16"))
        ("seq", "tokens a sequence (default: the size's)", optional())
        ("seed", "of weights and batches", text("1"));
    o.add_options("training")
        ("steps", "optimizer steps", text("200"))
        ("lr", "peak learning rate", text("4e-3"))
        ("warmup", "share of the steps", text("0.1"))
        ("decay", "cosine, linear, constant, wsd", text("cosine"))
        ("min-lr", "final learning rate, as a share of the peak", text("0"))
        ("optimizer", "adamw, sgd", text("adamw"))
        ("weight-decay", "of matrices", text("0.033"))
        ("clip", "largest gradient norm; 0: none", text("1"))
        ("beta1", "AdamW", text("0.9"))
        ("beta2", "AdamW", text("0.95"))
        ("momentum", "SGD", text("0.9"))
        ("threads", "CPU threads; 0: all", text("0"));
    o.add_options("run")
        ("out", "directory for metrics.csv (default: runs/<date>-<norm>)", text(""))
        ("val-every", "steps between validations; 0: only at the end", text("100"))
        ("val-batches", "held-out batches of a validation", text("8"))
        ("quiet", "only the summary")
        ("dry-run", "print parameters and memory, allocate nothing")
        ("help", "this text");
    return o;
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

int integer(const Flags& flags, const std::string& flag, double lowest, double highest = 1e9) {
    const double value = number(flags, flag, lowest, highest);
    if (value != std::floor(value))
        throw UserError("--" + flag + " " + flags[flag].as<std::string>() + " must be a whole number");
    return static_cast<int>(value);
}

// The size's value, or the flag's where it is given.
int integer_or(const Flags& flags, const std::string& flag, int otherwise) {
    return flags.count(flag) ? integer(flags, flag, 1) : otherwise;
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
    m.layers = integer_or(flags, "layers", size.layers);
    m.width = integer_or(flags, "width", size.width);
    m.heads = integer_or(flags, "heads", size.heads);
    m.kv_heads = integer_or(flags, "kv-heads", m.heads);
    m.ffn = integer_or(flags, "ffn", size.ffn);
    run.vocab = integer_or(flags, "vocab", 0);
    run.seq = integer_or(flags, "seq", size.seq);
    m.norm = flags["norm"].as<std::string>();
    m.rope_base = number(flags, "rope-base", 1e-3, 1e12);
    m.norm_eps = number(flags, "norm-eps", 0, 1);
    m.layernorm = flags.count("layernorm");
    m.freeze_output_gamma = flags.count("freeze-output-gamma");
    m.init = parse_init(flags["init"].as<std::string>());
    run.qk_norm = flags["qk-norm"].as<std::string>();
    run.embedding_norm =
        parse_choice("embedding-norm", flags["embedding-norm"].as<std::string>());
    run.final_norm = parse_choice("final-norm", flags["final-norm"].as<std::string>());
}

void read_training(RunConfig& run, const Flags& flags) {
    run.schedule.steps = integer(flags, "steps", 1);
    run.schedule.peak = number(flags, "lr", 0, 100);
    run.schedule.warmup = number(flags, "warmup", 0, 1);
    run.schedule.lowest = number(flags, "min-lr", 0, 1);
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
    run.threads = integer(flags, "threads", 0, 4096);
}

void read_data_and_run(RunConfig& run, const Flags& flags) {
    run.data = flags["data"].as<std::string>();
    run.val_data = flags["val-data"].as<std::string>();
    if (flags.count("data") && run.data.empty())
        throw UserError("--data is empty: name a file, or leave the flag out for the built-in stories");
    run.batch = integer(flags, "batch", 1, 1 << 20);
    run.seed = static_cast<uint64_t>(number(flags, "seed", 0, 9e15));
    run.out = flags["out"].as<std::string>();
    run.val_every = integer(flags, "val-every", 0);
    run.val_batches = integer(flags, "val-batches", 1, 1 << 20);
    run.quiet = flags.count("quiet");
    run.dry_run = flags.count("dry-run");
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
    if (!flags.unmatched().empty())
        throw UserError("'" + flags.unmatched().front() +
                        "' belongs to no flag; ./train --help lists the flags");
    if (flags.count("help")) {
        std::printf("%s", options.help({"model", "data", "training", "run"}).c_str());
        return {};
    }
    RunConfig run;
    read_model(run, flags);
    read_training(run, flags);
    read_data_and_run(run, flags);
    run.model.vocab = run.vocab ? run.vocab : 256;
    resolve(run.model, run.qk_norm, run.embedding_norm, run.final_norm);
    return run;
}

}  // namespace peri
