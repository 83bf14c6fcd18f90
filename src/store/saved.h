// What runs have saved, found again: OUT/step-00001000, a checkpoint, and OUT/best-00000400, the
// weights alone of the lowest validation loss (checkpoint.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace peri {

struct SavedStep {
    int64_t step;
    std::string path;
};

// In a run's directory, newest first. Whether they are whole is not looked at.
std::vector<SavedStep> saved_steps(const std::string& out);
std::vector<SavedStep> saved_bests(const std::string& out);

// The names of their directories.
std::string step_name(int64_t step);
std::string best_name(int64_t step);

// Throws UserError naming the safetensors file if not every byte of its tensors is as it was
// written, or if it has no checksums.
void check_whole(const std::string& file);
bool is_whole(const std::string& file);

// What --init-from means: `path` itself, or where it is a run's directory the newest checkpoint in
// it whose weights are whole; those that are passed over are named on stderr. Throws UserError
// where a directory has neither.
std::string weights_of(const std::string& path);

}  // namespace peri
