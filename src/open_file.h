// A file to be read. Whether opening a directory succeeds is the library's choice; here it fails.
#pragma once

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

namespace peri {

// As std::ifstream(path, std::ios::binary). Where it fails, errno says why.
inline std::ifstream open_file(const std::string& path) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(path, ignored)) return std::ifstream(path, std::ios::binary);
    std::ifstream none;
    none.setstate(std::ios::failbit);
    errno = EISDIR;
    return none;
}

}  // namespace peri
