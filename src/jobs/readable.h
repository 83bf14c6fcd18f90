// Tokens as a person reads and writes them.
#pragma once

#include <string>
#include <vector>

namespace peri {

// Tokens as text, as they come. Bytes: UTF-8 as it is, 0 (the end of a text) as a new line, and what is
// no UTF-8 or what a terminal would obey as \xNN. Tokens of a larger vocabulary: by number.
class Readable {
  public:
    explicit Readable(int vocab) : vocab_(vocab) {}
    std::string add(int token);  // what can be told by now: a letter is told with its last byte
    std::string rest();          // the beginning of a letter that does not end, escaped

  private:
    int vocab_;
    std::string letter_;  // so far
};
std::string readable(const std::vector<int>& tokens, int vocab);

// The other way round, for --prompt: bytes, or for a larger vocabulary numbers with blanks between
// them. Throws UserError naming what is no token.
std::vector<int> prompt_tokens(const std::string& prompt, int vocab);

}  // namespace peri
