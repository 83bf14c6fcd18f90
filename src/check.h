// Two levels of error: what a user can mend, and what only a bug can cause.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace peri {

// What a message quotes from a file or a flag may be anything: as one line that no terminal obeys (of its
// controls those beyond ASCII begin with c2 in UTF-8).
inline std::string one_line(const std::string& text) {
    std::string line;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool beyond = byte >= 0x80 && byte < 0xa0 && line.ends_with('\xc2');
        char code[5] = {c};
        if (byte < 32 || byte == 127 || beyond) std::snprintf(code, sizeof code, "\\x%02x", byte);
        line += code;
    }
    return line;
}

// Without the middle, where it is longer than a screen.
inline std::string shortened(const std::string& line) {
    constexpr size_t begin = 1000, end = 500;
    if (line.size() <= begin + end) return line;
    return line.substr(0, begin) + " ... " + line.substr(line.size() - end);
}

// What a user can mend: one sentence naming the file or flag, the value and the remedy.
// train.cpp prints it on stderr and ends with exit code 2.
struct UserError : std::runtime_error {
    explicit UserError(const std::string& what) : std::runtime_error(shortened(one_line(what))) {}
};

// A device without enough memory; shortage says what was asked for and what was left, so that one
// who knows the run can say what fits.
struct OutOfMemory : UserError {
    explicit OutOfMemory(const std::string& what)
        : UserError(what + ": choose a smaller --batch, --seq or --size"), shortage(what) {}
    std::string shortage;
};

[[noreturn]] inline void check_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "%s:%d: bug: CHECK(%s) failed\n", file, line, expression);
    std::abort();
}

}  // namespace peri

// What only a bug can cause: ends the program at once, with the place.
#define CHECK(expression) \
    ((expression) ? void(0) : ::peri::check_failed(#expression, __FILE__, __LINE__))
