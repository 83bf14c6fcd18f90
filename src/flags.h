// The command line: every flag of ./train, its default and its check.
#pragma once

#include <optional>
#include <string>

#include "config.h"
#include "optimizer.h"
#include "schedule.h"

namespace peri {

struct RunConfig {
    ModelConfig model;
    std::string qk_norm = "auto";
    Choice embedding_norm = Choice::automatic, final_norm = Choice::automatic;
    int vocab = 0;  // 0: what the data needs

    std::string data, val_data;  // "": the built-in stories; the last 5 %
    int batch = 16, seq = 128;
    uint64_t seed = 1;

    Schedule schedule;
    std::string decay, init;  // as the user wrote them
    OptimizerSettings optimizer;
    bool bf16 = false;  // matrices and activations; otherwise float
    int threads = 0;    // 0: all
    bool tune = true;   // choose the fastest products by measuring

    std::string out;  // "": runs/<date>-<norm>
    int val_every = 100, val_batches = 8;
    int check = 0;  // steps beside the oracle, in place of training
    bool quiet = false, verbose = false, dry_run = false;
};

// Nothing when only --help was asked for (and printed). Throws UserError: one sentence naming the
// flag, the value and the remedy.
std::optional<RunConfig> parse_flags(int argc, char** argv);

}  // namespace peri
