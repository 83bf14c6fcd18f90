// Any bytes made readable: UTF-8 that no terminal obeys, from which the bytes can be told again, the same
// in one piece and byte by byte. And any text as a prompt.
#include "jobs/readable.h"

#include <cstdio>

#include "fuzz.h"
#include "json.h"

namespace {

// Another's word on what is UTF-8.
bool is_utf8(const std::string& text) {
    try {
        nlohmann::json(text).dump();
        return true;
    } catch (const nlohmann::json::type_error&) {
        return false;
    }
}

bool terminal_obeys(const std::string& text, size_t i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0xc2) return static_cast<unsigned char>(text[i + 1]) < 0xa0;
    return (byte < 32 && byte != '\n' && byte != '\t') || byte == 127;
}

// A backslash is one, unless another byte must be behind it.
void check_same(const std::string& shown, const std::string& input) {
    size_t at = 0;
    for (const char c : input) {
        if (shown[at] == (c == 0 ? '\n' : c)) {
            at++;
            continue;
        }
        char escaped[5];
        std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
        CHECK(shown.compare(at, 4, escaped) == 0);
        at += 4;
    }
    CHECK(at == shown.size());
}

}  // namespace

void peri::read_input(const std::string& input) {
    std::vector<int> tokens;
    for (const char c : input) tokens.push_back(static_cast<unsigned char>(c));
    const std::string shown = readable(tokens, 256);
    CHECK(is_utf8(shown));
    for (size_t i = 0; i < shown.size(); i++) CHECK(!terminal_obeys(shown, i));
    check_same(shown, input);

    constexpr int many = 50257;
    CHECK(prompt_tokens(readable(tokens, many), many) == tokens);
    CHECK(prompt_tokens(input, 256) == tokens);
    use_or_refuse([&] {
        for (const int token : prompt_tokens(input, many)) CHECK(token >= 0 && token < many);
    });
    use_or_refuse([&] { CHECK(prompt_tokens(input, 100).size() == input.size()); });
}
