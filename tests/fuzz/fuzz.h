// What the fuzz targets share. A target hands its input to a reader as the program would: UserError is the
// one answer to what is damaged, anything else ends the fuzzer.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "check.h"

namespace peri {

// Where inputs lie as files, in memory where the system has such a place; goes away with the fuzzer.
class InputFolder {
  public:
    InputFolder() {
        const std::filesystem::path memory = "/dev/shm";
        const auto place =
            access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
        path_ = place / ("peri-fuzz-" + std::to_string(getpid()));
        std::filesystem::create_directory(path_);
    }
    ~InputFolder() { std::filesystem::remove_all(path_); }
    InputFolder(const InputFolder&) = delete;
    InputFolder& operator=(const InputFolder&) = delete;

    const std::string& path() const { return path_; }

    // Returns its path. One that is there is written over: that is faster than a new one.
    std::string write(const std::string& name, const std::string& bytes) const {
        const std::string path = path_ + "/" + name;
        const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        const auto size = static_cast<ssize_t>(bytes.size());
        CHECK(::write(file, bytes.data(), bytes.size()) == size && ftruncate(file, size) == 0);
        close(file);
        return path;
    }

  private:
    std::string path_;
};

inline const InputFolder& input_folder() {
    static const InputFolder folder;
    return folder;
}

// A refusal is one line that no terminal obeys.
template <class Use>
void use_or_refuse(Use&& use) {
    try {
        use();
    } catch (const UserError& error) {
        const std::string what = error.what();
        CHECK(!what.empty());
        for (const char c : what) CHECK((c & 0x80) || (c >= 32 && c < 127));
    }
}

// What a target does with the input.
void read_input(const std::string& input);

}  // namespace peri

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    peri::read_input({reinterpret_cast<const char*>(data), size});
    return 0;
}
