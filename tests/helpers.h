// What several test files share.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "device.h"

namespace peri {

// While it lives, kernels run on so many threads.
class Threads {
  public:
    explicit Threads(int n) : before_(get_threads()) { set_threads(n); }
    ~Threads() { set_threads(before_); }
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

  private:
    int before_;
};

// A new directory that goes away with all that is in it.
class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        path_ = (std::filesystem::temp_directory_path() / "peri-test-XXXXXX").string();
        if (!mkdtemp(path_.data())) throw std::runtime_error("cannot make " + path_);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() { std::filesystem::remove_all(path_); }

    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

    std::string write(const std::string& name, const std::string& bytes) const {
        std::ofstream(*this / name, std::ios::binary) << bytes;
        return *this / name;
    }

  private:
    std::string path_;
};

template <class Number>
std::string bytes_of(const std::vector<Number>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Number)};
}

// An llm.c shard with any header; the second as llm.c's data scripts write it.
template <class Token>
std::string shard(int32_t magic, int32_t version, int32_t count, const std::vector<Token>& tokens) {
    std::vector<int32_t> header(256, 0);
    header[0] = magic;
    header[1] = version;
    header[2] = count;
    return bytes_of(header) + bytes_of(tokens);
}

template <class Token>
std::string shard(const std::vector<Token>& tokens) {
    const bool narrow = sizeof(Token) == 2;
    return shard(narrow ? 20240520 : 20240801, narrow ? 1 : 7, static_cast<int32_t>(tokens.size()),
                 tokens);
}

}  // namespace peri
