// The JSON files of Hugging Face transformers, written and read.
#pragma once

#include <set>
#include <string>

#include "jobs/hf_architecture.h"

namespace peri {

// config.json and generation_config.json. dtype: float32, bfloat16 or float16; seq: the context.
std::string hf_config(const HfArchitecture& architecture, const ModelConfig& config, int seq,
                      const std::string& dtype);
std::string hf_generation_config(int vocab);

// What a config.json says.
struct HfModel {
    const HfArchitecture* architecture;
    ModelConfig config;
    int seq;
    bool tied;  // the head is the embedding
};

// Throws UserError naming the file, the key and its value where that is not exactly a model of ours.
HfModel read_hf_config(const std::string& path);

// The settings file of such a model.
std::string hf_settings(const HfModel& model);

// The names of the files in a model.safetensors.index.json, as it has them. Throws UserError.
std::set<std::string> read_hf_index(const std::string& path);

}  // namespace peri
