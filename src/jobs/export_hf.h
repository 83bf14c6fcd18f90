// --export-hf: a model as a directory that Hugging Face's libraries load.
//   config.json, generation_config.json   the architecture (hf_architecture.h)
//   model.safetensors                     or parts of it, and model.safetensors.index.json
//   tokenizer.json, tokenizer_config.json where tokens are bytes
//   modeling_peri.py, configuration_peri.py  where the architecture is our own
#pragma once

#include "run/run_config.h"

namespace peri {

constexpr size_t largest_part = 5'000'000'000;  // bytes of numbers in a file, as is usual there

// Writes the weights of --init-from to the directory of --export-hf, which must not exist or be
// empty. Returns what is there now, in lines for the user. Throws UserError.
std::string export_hf(const RunConfig& run, size_t part_bytes = largest_part);

}  // namespace peri
