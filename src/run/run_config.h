// What one call of ./train is to do.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "activations.h"
#include "config.h"
#include "data/data.h"
#include "device.h"
#include "optimizer.h"
#include "run/tuning.h"
#include "schedule.h"

namespace peri {

// How numbers are stored, and matrix products computed (tf32: stored as fp32).
enum class Precision { fp32, tf32, bf16, fp16 };

// What ./train does with a model.
enum class Job {
    train,
    check,
    evaluate,
    generate,
    export_hf,
    import_hf,
    view
};  // the first three by many processes too

enum class ExportDtype { stored, fp32, bf16, fp16 };  // of --export-hf

constexpr int most_tokens = 1 << 24;  // --batch times --seq: kernels count them in int

// How the next token is chosen from a model's logits (jobs/sampling.h).
struct Sampling {
    double temperature = 0.8;  // 0: the likeliest token
    int top_k = 0;             // only the so many likeliest; 0: all
    double top_p = 1;          // of those the fewest likeliest that hold this share of probability
    int stop_at = -1;          // a token before which the text ends; -1: none
};

struct RunConfig {
    ModelConfig model;
    std::string qk_norm = "auto";
    Choice embedding_norm = Choice::automatic, final_norm = Choice::automatic;
    int vocab = 0;       // 0: what the data needs
    int separator = -1;  // -1: by the vocabulary

    std::string data, val_data;  // "": the built-in stories; the last 5 %
    bool of_stories = false;  // whether a run's settings say so: those of an imported model do not
    Draw draw = Draw::random;
    int batch = 16, accumulate = 1, seq = 128;
    uint64_t seed = 1;
    int sequences() const { return batch * accumulate; }  // of a step
    int ranks = 1;                                        // processes that share them (comm.h)
    bool reproducible = false;                            // the same bits however many they are
    double patience = 300;                                // seconds that one waits for another
    // sequences that a process computes at once
    int micro() const { return std::min(batch, std::max(1, sequences() / ranks)); }

    Schedule schedule;  // its steps are 0 until choose_steps, where --epochs alone is given
    int64_t epochs = 0;
    std::string init = "auto";  // as the user wrote it
    OptimizerSettings optimizer;
    Precision precision = Precision::fp32;
    std::string loss_scale_text = "auto";  // as the user wrote it
    LossScale loss_scale = {0, 0, 0, 0};   // to begin with; scale 0: none
    std::string fake_quant_text = "none";  // as the user wrote it
    AttentionBy attention = AttentionBy::automatic;
    int threads = 0;       // 0: all
    Tune tune = Tune::on;  // choose the fastest products by measuring

    std::string out;  // "": runs/<date>-<norm>
    int val_every = 100, val_batches = 8;
    int probe_every = 100;  // 0: never
    int sharpness_every = 0;
    int sharpness_sequences() const { return std::clamp(128 / seq, 1, micro()); }
    int save_every = 1000, keep = 2;  // checkpoints; 0: none; all
    bool keep_best = false;           // the weights of the lowest validation loss
    std::string resume;               // "", "auto" or a checkpoint's directory
    bool stop_on_divergence = true;
    std::string init_from;  // weights; "": new ones

    Job job = Job::train;
    int check = 0;     // steps beside the oracle
    int generate = 0;  // tokens to write
    std::string prompt;
    Sampling sampling;
    std::string export_hf, import_hf;  // directories
    std::string export_as = "auto";
    ExportDtype export_dtype = ExportDtype::stored;
    std::vector<std::string> viewed;  // directories of runs
    bool quiet = false, verbose = false, dry_run = false, profile = false;
    size_t memory = 0;  // bytes to plan for; 0: what the device has left
    Purpose purpose() const {
        return job == Job::evaluate || job == Job::generate ? Purpose::inference
                                                            : Purpose::training;
    }

    std::string json;  // the settings file that repeats the run
};

}  // namespace peri
