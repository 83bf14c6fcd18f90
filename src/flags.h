// The command line and the settings file: every flag of ./train, its default and its check.
#pragma once

#include <optional>
#include <string>

#include "activations.h"
#include "config.h"
#include "optimizer.h"
#include "sampling.h"
#include "schedule.h"
#include "tuning.h"

namespace peri {

// How numbers are stored, and matrix products computed (tf32: stored as fp32).
enum class Precision { fp32, tf32, bf16 };

enum class ExportDtype { stored, fp32, bf16 };  // of --export-hf

constexpr int most_tokens = 1 << 24;  // --batch times --seq: kernels count them in int

struct RunConfig {
    ModelConfig model;
    std::string qk_norm = "auto";
    Choice embedding_norm = Choice::automatic, final_norm = Choice::automatic;
    int vocab = 0;       // 0: what the data needs
    int separator = -1;  // -1: by the vocabulary

    std::string data, val_data;  // "": the built-in stories; the last 5 %
    int batch = 16, accumulate = 1, seq = 128;
    uint64_t seed = 1;
    int sequences() const { return batch * accumulate; }  // of a step

    Schedule schedule;  // its steps are 0 until choose_steps, where --epochs alone is given
    int64_t epochs = 0;
    std::string decay, init;  // as the user wrote them
    OptimizerSettings optimizer;
    Precision precision = Precision::fp32;
    int threads = 0;       // 0: all
    Tune tune = Tune::on;  // choose the fastest products by measuring

    std::string out;  // "": runs/<date>-<norm>
    int val_every = 100, val_batches = 8;
    int probe_every = 100;            // 0: never
    int save_every = 1000, keep = 2;  // checkpoints; 0: none; all
    bool keep_best = false;           // the weights of the lowest validation loss
    std::string resume;               // "", "auto" or a checkpoint's directory
    bool stop_on_divergence = true;
    int check = 0;          // steps beside the oracle, in place of training
    std::string init_from;  // weights; "": new ones
    bool evaluate = false;  // in place of training
    int generate = 0;       // tokens to write, in place of training
    Purpose purpose() const {
        return evaluate || generate ? Purpose::inference : Purpose::training;
    }
    std::string prompt;
    Sampling sampling;
    std::string export_hf;  // a directory, in place of training
    std::string export_as = "auto";
    ExportDtype export_dtype = ExportDtype::stored;
    bool quiet = false, verbose = false, dry_run = false;
    size_t memory = 0;  // bytes to plan for; 0: what the device has left

    std::string json;  // the settings file that repeats the run
};

// Nothing when only --help was asked for (and printed). Throws UserError: one sentence naming the
// flag, the value and the remedy.
std::optional<RunConfig> parse_flags(int argc, char** argv);

// The model's vocabulary, --vocab or else the `needed` tokens of the data, and with it the separator
// of documents. Throws UserError.
void choose_vocab(RunConfig& run, int needed);

// The steps that --epochs takes, of sequences_in_epoch each (0: the data has no epochs). Throws
// UserError.
void choose_steps(RunConfig& run, int64_t sequences_in_epoch);

}  // namespace peri
