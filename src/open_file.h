// A file to be read. What would block or never end, such as a pipe or a device, is refused before it is
// opened, as is a directory, whose opening would succeed or not at the library's choice.
#pragma once

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"

namespace peri {

// Whether there is a file or directory by this name; a name that leads nowhere (a link to itself, one too
// long) has none.
inline bool is_there(const std::string& path) {
    std::error_code nowhere;
    return std::filesystem::exists(path, nowhere);
}

// The same where to take one that cannot be told for none would lose something: that is a UserError.
inline bool is_surely_there(const std::string& path) {
    std::error_code error;
    const bool there = std::filesystem::exists(path, error);
    if (error) throw UserError(path + ": cannot be read (" + error.message() + ")");
    return there;
}

inline bool is_directory(const std::string& path) {
    std::error_code nowhere;
    return std::filesystem::is_directory(path, nowhere);
}

// The directory that a directory's name says it is in: links are not followed.
inline std::string directory_above(const std::string& path) {
    const auto whole = std::filesystem::absolute(path + "/.").lexically_normal();
    return whole.parent_path().parent_path();  // of "/a/b/"
}

// Whether path, seen from the directory `here`, leads out of it, links followed.
inline bool leads_out(const std::string& path, const std::filesystem::path& here) {
    namespace fs = std::filesystem;
    std::error_code error;
    const fs::path place = fs::weakly_canonical(here / fs::path(path).lexically_normal(), error);
    const fs::path way = place.lexically_relative(fs::canonical(here, error));
    return way.empty() || *way.begin() == "..";
}

// As std::ifstream(path, std::ios::binary).
inline std::ifstream open_file(const std::string& path) {
    std::error_code ignored;
    const auto kind = std::filesystem::status(path, ignored).type();
    if (kind == std::filesystem::file_type::regular ||
        kind == std::filesystem::file_type::not_found)
        return std::ifstream(path, std::ios::binary);
    std::ifstream none;
    none.setstate(std::ios::failbit);
    return none;
}

// Why it could not be opened, or read.
inline std::string why_unreadable(const std::string& path) {
    const std::string of_system = std::strerror(errno);
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (error) return error.message();
    if (std::filesystem::is_directory(status)) return std::strerror(EISDIR);
    return std::filesystem::is_regular_file(status) ? of_system : "not a regular file";
}

}  // namespace peri
