// Command lines for the fuzz targets, and what each that is accepted must keep to.
#pragma once

#include <optional>
#include <vector>

#include "fuzz.h"
#include "run/flags.h"

namespace peri {

inline std::optional<RunConfig> parse(std::vector<std::string> words) {
    words.insert(words.begin(), "train");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return parse_flags(static_cast<int>(words.size()), argv.data());
}

// What is accepted is repeated by the settings that the run would save.
inline void parse_and_repeat(const std::vector<std::string>& words) {
    std::optional<RunConfig> run, again;
    use_or_refuse([&] { run = parse(words); });
    if (!run) return;  // or --help, --norm list
    CHECK(run->schedule.steps >= 0 && run->batch >= 1 && run->seq >= 1);
    try {
        again = parse({"--config", input_folder().write("saved.json", run->json)});
    } catch (const UserError& error) {
        // those of a file may not lead where a command line may
        CHECK(std::string(error.what()).find("leads out of") != std::string::npos);
        return;
    }
    CHECK(again && again->json == run->json);
}

}  // namespace peri
