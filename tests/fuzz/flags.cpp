// Any lines as the words of a command line: what is accepted is repeated by the settings that the run would
// save.
#include <optional>
#include <sstream>
#include <vector>

#include "fuzz.h"
#include "run/flags.h"

namespace {

std::optional<peri::RunConfig> parse(std::vector<std::string> words) {
    words.insert(words.begin(), "train");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return peri::parse_flags(static_cast<int>(words.size()), argv.data());
}

}  // namespace

void peri::read_input(const std::string& input) {
    std::vector<std::string> words;
    std::istringstream lines(input);
    for (std::string line; std::getline(lines, line);) words.push_back(line.c_str());
    use_or_refuse([&] {
        const std::optional<RunConfig> run = parse(words);
        if (!run) return;  // --help, --norm list
        CHECK(run->schedule.steps >= 0 && run->batch >= 1 && run->seq >= 1);
        const std::string saved = input_folder().write("saved.json", run->json);
        std::optional<RunConfig> again;
        try {
            again = parse({"--config", saved});
        } catch (const UserError&) {
            CHECK(!"a run's own settings are refused");
        }
        CHECK(again && again->json == run->json);
    });
}
