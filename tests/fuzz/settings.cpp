// Any bytes as a settings file, through all checks of the flags.
#include "parse.h"

void peri::read_input(const std::string& input) {
    parse_and_repeat({"--config", input_folder().write("input.json", input)});
}
