// Text as a number. std::from_chars does that, but of libc++ only since version 20.
#pragma once

#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <string>

namespace peri {

// Whether the whole text is one decimal number that a double can hold.
inline bool parse_number(double& value, const std::string& text) {
    if (text.empty() || text.front() == '+' || std::isspace(static_cast<unsigned char>(text[0])) ||
        text.find_first_of("xX") != std::string::npos)
        return false;
    char* end = nullptr;
    errno = 0;
    value = std::strtod(text.c_str(), &end);
    return errno == 0 && end == text.c_str() + text.size();
}

}  // namespace peri
