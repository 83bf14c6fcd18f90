// What the fuzz targets share. A target writes its input to a file and reads that as the program
// would: UserError is the one answer to a damaged file, anything else ends the fuzzer.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"

namespace peri {

// The input as a file, in memory where the system has such a place; it goes away with this.
class InputFile {
  public:
    InputFile(const uint8_t* data, size_t size, const std::string& ending) {
        const std::filesystem::path memory = "/dev/shm";
        const auto folder =
            access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
        path_ = folder / ("peri-fuzz-" + std::to_string(getpid()) + ending);
        std::ofstream file(path_, std::ios::binary);
        file.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
        CHECK(file.flush());
    }
    ~InputFile() { std::remove(path_.c_str()); }
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

// A refusal is one line.
template <class Use>
void use_or_refuse(Use&& use) {
    try {
        use();
    } catch (const UserError& error) {
        const std::string what = error.what();
        CHECK(!what.empty() && what.find('\n') == std::string::npos);
    }
}

}  // namespace peri
