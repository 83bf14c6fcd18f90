// --import-hf: a model of Hugging Face's libraries as weights of ours, --export-hf the other way round.
//   model.safetensors   its numbers as they are stored, under our names
//   config.json         its settings
// What is not exactly a model of ours is refused. The directory is a stranger's: no link or name in it is
// followed to elsewhere, and what is held in memory is bounded by what its files hold.
#pragma once

#include <string>

#include "run/run_config.h"

namespace peri {

// Writes the model in the directory of --import-hf to that of --out, which must not exist or be empty.
// Returns what is there now, in lines for the user. Throws UserError, and then nothing is there.
std::string import_hf(const RunConfig& run);

}  // namespace peri
