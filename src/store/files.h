// Files that survive a crash: written in full, flushed to the disk, renamed into place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <system_error>

namespace peri {

// All errors are UserErrors that name the path and what the system says.

// A new file, written from its beginning. A link in its place is refused: a directory that came from
// elsewhere must not lead what is written out of it.
class DurableFile {
  public:
    explicit DurableFile(const std::string& path);
    ~DurableFile();
    DurableFile(const DurableFile&) = delete;
    DurableFile& operator=(const DurableFile&) = delete;

    void write(const void* data, size_t bytes);                    // behind what is there
    void write_at(size_t offset, const void* data, size_t bytes);  // over what is there
    void close();                                                  // and waits for the disk

  private:
    std::string path_;
    int file_;
    size_t size_ = 0;
};

// Writes a whole text file and waits for the disk: after a crash it holds the old text or the new.
void save_durably(const std::string& path, const std::string& text);

// Waits until what an open file holds is on the disk; less than 0 with errno where that fails.
int flush_to_disk(int file);

// Waits until the names in a directory are on the disk.
void sync_directory(const std::string& path);

// Makes a directory with all above it that are missing, and waits until their names are on the disk.
std::error_code make_directories_durably(const std::string& path);

// from, a file or a directory whose content is on the disk, becomes `to`, which must not exist
// (a file may): after a crash there is one or the other. Both in one directory.
void rename_durably(const std::string& from, const std::string& to);

// The file or directory becomes PATH.<what>, or PATH.<what>-2, ... where that is taken. Returns which.
std::string set_aside(const std::string& path, const std::string& what);

// The path of the directory that --flag names, without a slash at its end; what is above it is made.
// Throws unless a new one can be put there.
std::string new_place(const std::string& flag, const std::string& directory);

// Makes the directory `place`, which `write` fills under the name `beside` before it gets its own.
// Both in one directory; place must not exist, or be empty, and what lies at `beside` is removed,
// as is what was written before an error.
void make_directory_durably(const std::string& place, const std::string& beside,
                            const std::function<void(const std::string& directory)>& write);

// CRC-32, as zlib's; of bytes that follow others, whose own is given.
uint32_t checksum(const std::string& bytes, uint32_t before = 0);

// The whole text of a file, which may be so long at most. `short_text` is for what no person writes more of.
constexpr size_t short_text = 1 << 20;
std::string read_text(const std::string& path, size_t most = SIZE_MAX);

}  // namespace peri
