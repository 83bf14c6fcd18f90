// Any bytes as a settings file, through all checks of the flags: what is accepted is repeated by
// the settings that the run would save.
#include <optional>

#include "fuzz.h"
#include "run/flags.h"

using namespace peri;

namespace {

std::optional<RunConfig> parse(const std::string& file) {
    std::string program = "train", flag = "--config", path = file;
    char* words[] = {program.data(), flag.data(), path.data(), nullptr};
    return parse_flags(3, words);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const InputFile input(data, size, ".json");
    std::string saved;
    use_or_refuse([&] { saved = parse(input.path())->json; });
    if (saved.empty()) return 0;
    const InputFile again(reinterpret_cast<const uint8_t*>(saved.data()), saved.size(), ".json");
    CHECK(parse(again.path())->json == saved);
    return 0;
}
