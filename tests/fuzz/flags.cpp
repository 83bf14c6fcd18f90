// Any lines as the words of a command line.
#include <sstream>

#include "parse.h"

void peri::read_input(const std::string& input) {
    std::vector<std::string> words;
    std::istringstream lines(input);
    for (std::string line; std::getline(lines, line);) words.push_back(line.c_str());
    parse_and_repeat(words);
}
