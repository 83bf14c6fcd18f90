// Any bytes as a settings file, through all checks of the flags: what is accepted is repeated by
// the settings that the run would save.
#include <optional>

#include "fuzz.h"
#include "run/flags.h"

namespace {

std::string saved_settings(const std::string& settings) {
    std::string program = "train", flag = "--config",
                path = peri::input_folder().write("input.json", settings);
    char* words[] = {program.data(), flag.data(), path.data(), nullptr};
    const std::optional<peri::RunConfig> run = peri::parse_flags(3, words);
    return run ? run->json : "";  // nothing: --norm list
}

}  // namespace

void peri::read_input(const std::string& input) {
    std::string saved;
    use_or_refuse([&] { saved = saved_settings(input); });
    if (!saved.empty()) CHECK(saved_settings(saved) == saved);
}
