// Any bytes as another program's config.json, and as its index of files: what is accepted as a model is one whose
// settings are accepted too, and whose own config.json says the same again.
#include "jobs/hf_config.h"

#include <optional>

#include "fuzz.h"
#include "run/flags.h"

namespace peri {

namespace {

RunConfig parsed(const std::string& settings) {
    const std::string path = input_folder().write("settings.json", settings);
    const char* words[] = {"train", "--config", path.c_str(), nullptr};
    return *parse_flags(3, const_cast<char**>(words));
}

void check(HfModel model) {
    const RunConfig run = parsed(hf_settings(model));
    CHECK(run.seq == model.seq && run.model.vocab == model.config.vocab &&
          run.model.kv_heads == model.config.kv_heads && run.model.norm == model.config.norm);
    model.tied = false;  // an export's head is its own
    const std::string written = hf_config(*model.architecture, model.config, model.seq, "float32");
    const HfModel again = read_hf_config(input_folder().write("again.json", written));
    CHECK(again.architecture == model.architecture && hf_settings(again) == hf_settings(model));
}

}  // namespace

void read_input(const std::string& input) {
    const std::string path = input_folder().write("config.json", input);
    std::optional<HfModel> model;
    use_or_refuse([&] { model = read_hf_config(path); });
    if (model) check(*model);
    use_or_refuse([&] { CHECK(!read_hf_index(path).empty()); });
}

}  // namespace peri
