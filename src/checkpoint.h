// Checkpoints: all that a run needs to go on as if it had never stopped. OUT/step-00001000 holds
//   model.safetensors      the weights as they are stored (bf16 or fp32)
//   optimizer.safetensors  moments, and master weights where there are any
//   config.json            the run's settings
// The step is the run's whole position: batches are a function of (seed, step). A checkpoint is
// written beside its place, flushed to the disk and renamed, so that a crash at any moment leaves
// the ones before.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "optimizer.h"

namespace peri {

struct SavedStep {
    int64_t step;
    std::string path;
};

// The checkpoints in a run's directory, newest first. Whether they are whole is not looked at.
std::vector<SavedStep> saved_steps(const std::string& out);

// Writes OUT/step-<optimizer's steps>; one that is there already and whole is left alone. Then
// removes all but the newest `keep` (0: none). texts: further files, by name and content. Throws
// UserError (no space, no right to write), after which the older ones are as they were.
template <class T>
void save_checkpoint(const std::string& out, const Model<T>& model, const Optimizer<T>& optimizer,
                     const std::vector<std::pair<std::string, std::string>>& texts, int keep);

// Throws UserError naming the file and what is wrong with it: missing, damaged (every tensor has a
// checksum), of another model, or not written here. Part of the model may then have been read.
template <class T>
void load_checkpoint(const std::string& path, Model<T>& model, Optimizer<T>& optimizer);

// The weights alone, of a checkpoint's directory or of any safetensors file with this model's
// tensors, as F32, BF16 or F16... rounded to T. Load them before the optimizer is made.
template <class T>
void load_weights(const std::string& path, Model<T>& model);

// The vocabulary of the weights that load_weights would read there: as save_checkpoint noted it,
// else the rows of the embedding.
int saved_vocab(const std::string& path);

}  // namespace peri
