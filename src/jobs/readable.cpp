#include "jobs/readable.h"

#include <cstdio>
#include <sstream>
#include <utility>

#include "check.h"

namespace peri {

namespace {

std::string escaped(const std::string& bytes) {
    std::string text;
    for (const char c : bytes) {
        char word[5];
        std::snprintf(word, sizeof word, "\\x%02x", static_cast<unsigned char>(c));
        text += word;
    }
    return text;
}

enum class Utf8 { letter, begun, none };

// Whether bytes are a letter of UTF-8, the beginning of one, or neither (RFC 3629, Section 4).
Utf8 utf8(const std::string& bytes) {
    const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
    const unsigned char first = at(0);
    if (first < 0x80) return Utf8::letter;
    if (first < 0xc2 || first > 0xf4) return Utf8::none;
    const size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < bytes.size(); i++) {
        const bool second = i == 1;
        const unsigned char low = second && first == 0xe0   ? 0xa0
                                  : second && first == 0xf0 ? 0x90
                                                            : 0x80;
        const unsigned char high = second && first == 0xed   ? 0x9f
                                   : second && first == 0xf4 ? 0x8f
                                                             : 0xbf;
        if (at(i) < low || at(i) > high) return Utf8::none;
    }
    return bytes.size() == size ? Utf8::letter : Utf8::begun;
}

// Also U+0080 to U+009F, which begin with 0xc2.
bool terminal_obeys(const std::string& letter) {
    const auto code = static_cast<unsigned char>(letter.back());
    if (letter.size() == 2) return letter[0] == '\xc2' && code < 0xa0;
    return letter.size() == 1 && (code < 32 || code == 127) && code != '\n' && code != '\t';
}

}  // namespace

std::string Readable::add(int token) {
    if (vocab_ > 256) return std::to_string(token) + " ";
    letter_ += token == 0 ? '\n' : static_cast<char>(token);
    const Utf8 is = utf8(letter_);
    if (is == Utf8::begun) return "";
    if (is == Utf8::letter) {
        const std::string letter = std::exchange(letter_, "");
        return terminal_obeys(letter) ? escaped(letter) : letter;
    }
    if (letter_.size() == 1) return rest();
    letter_.pop_back();  // the last byte may begin the next letter
    const std::string lost = rest();
    return lost + add(token);
}

std::string Readable::rest() { return escaped(std::exchange(letter_, "")); }

std::string readable(const std::vector<int>& tokens, int vocab) {
    Readable text(vocab);
    std::string all;
    for (const int token : tokens) all += text.add(token);
    return all + text.rest();
}

std::vector<int> prompt_tokens(const std::string& prompt, int vocab) {
    std::vector<int> tokens;
    const auto add = [&](int64_t token, const std::string& word) {
        if (token < 0 || token >= vocab)
            throw UserError("--prompt: '" + word + "' is none of the model's tokens, 0 to " +
                            std::to_string(vocab - 1) + ": leave it out");
        tokens.push_back(static_cast<int>(token));
    };
    if (vocab <= 256) {
        for (const char c : prompt) add(static_cast<unsigned char>(c), std::string(1, c));
        return tokens;
    }
    std::istringstream words(prompt);
    for (std::string word; words >> word;) {
        const bool number = word.find_first_not_of("0123456789") == word.npos && word.size() < 10;
        add(number ? std::stoi(word) : -1, word);
    }
    return tokens;
}

}  // namespace peri
