#include "store/files.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "open_file.h"

namespace peri {

namespace {

[[noreturn]] void failed(const std::string& path, const char* what) {
    const char* const remedy = errno == ENOSPC || errno == EDQUOT ? ": free some space" : "";
    throw UserError(path + ": cannot " + what + " (" + std::strerror(errno) + ")" + remedy);
}

// A signal may interrupt a call on a file system of the network or of a user's process (NFS,
// FUSE): it is done again, so that hours of training do not end with it.
template <class Call>
int uninterrupted(Call&& call) {
    int result;
    do result = call();
    while (result < 0 && errno == EINTR);
    return result;
}

}  // namespace

// On a Mac fsync stops at the disk's own memory.
int flush_to_disk(int file) {
#ifdef F_FULLFSYNC
    if (fcntl(file, F_FULLFSYNC) == 0) return 0;  // not every file system knows it
#endif
    return uninterrupted([&] { return fsync(file); });
}

DurableFile::DurableFile(const std::string& path)
    : path_(path), file_(uninterrupted([&] {
          const int mode = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW;
          return open(path.c_str(), mode, 0666);
      })) {
    if (file_ < 0) failed(path_, "be written");
}

DurableFile::~DurableFile() {
    if (file_ >= 0) ::close(file_);
}

void DurableFile::write(const void* data, size_t bytes) {
    write_at(size_, data, bytes);
    size_ += bytes;
}

void DurableFile::write_at(size_t offset, const void* data, size_t bytes) {
    const char* next = static_cast<const char*>(data);
    while (bytes > 0) {
        const ssize_t written = pwrite(file_, next, bytes, static_cast<off_t>(offset));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) failed(path_, "be written");
        next += written;
        offset += static_cast<size_t>(written);
        bytes -= static_cast<size_t>(written);
    }
}

void DurableFile::close() {
    if (flush_to_disk(file_) != 0) failed(path_, "be flushed to the disk");
    const int file = file_;
    file_ = -1;
    // interrupted, it is closed, and what it holds is on the disk
    if (::close(file) != 0 && errno != EINTR) failed(path_, "be closed");
}

void save_durably(const std::string& path, const std::string& text) {
    DurableFile file(path + ".new");
    file.write(text.data(), text.size());
    file.close();
    rename_durably(path + ".new", path);
}

void sync_directory(const std::string& path) {
    const int directory =
        uninterrupted([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (directory < 0) failed(path, "be opened");
    // some file systems have no fsync of directories (EINVAL): a rename is safe there, or never
    if (flush_to_disk(directory) != 0 && errno != EINVAL && errno != ENOTSUP) {
        ::close(directory);
        failed(path, "be flushed to the disk");
    }
    ::close(directory);
}

std::error_code make_directories_durably(const std::string& path) {
    std::error_code error;
    std::filesystem::path place;
    for (const std::filesystem::path& name : std::filesystem::path(path)) {
        const std::string parent = place.empty() ? "." : place.string();
        place /= name;
        if (std::filesystem::create_directory(place, error)) sync_directory(parent);
        if (error) break;
    }
    return error;
}

void rename_durably(const std::string& from, const std::string& to) {
    if (std::rename(from.c_str(), to.c_str()) != 0) failed(from, ("become " + to).c_str());
    const std::filesystem::path parent = std::filesystem::path(to).parent_path();
    sync_directory(parent.empty() ? "." : parent.string());
}

std::string set_aside(const std::string& path, const std::string& what) {
    const std::string first = path + "." + what;
    std::string place = first;
    for (int n = 2; is_there(place); n++) place = first + "-" + std::to_string(n);
    rename_durably(path, place);
    return place;
}

std::string new_place(const std::string& flag, const std::string& directory) {
    namespace fs = std::filesystem;
    fs::path place = fs::absolute(directory).lexically_normal();
    if (!place.has_filename()) place = place.parent_path();
    std::error_code error;
    if (fs::exists(place, error) && !(fs::is_directory(place, error) && fs::is_empty(place, error)))
        throw UserError("--" + flag + " " + directory +
                        ": there is something already: name a new directory, or remove it");
    fs::create_directories(place.parent_path(), error);
    return place;
}

void make_directory_durably(const std::string& place, const std::string& beside,
                            const std::function<void(const std::string& directory)>& write) {
    try {
        std::filesystem::remove_all(beside);
        std::filesystem::create_directory(beside);
    } catch (const std::filesystem::filesystem_error& e) {
        throw UserError(beside + ": cannot be made anew (" + e.code().message() + ")");
    }
    try {
        write(beside);
        sync_directory(beside);
        rename_durably(beside, place);
    } catch (...) {
        std::error_code ignored;
        std::filesystem::remove_all(beside, ignored);
        throw;
    }
}

uint32_t checksum(const std::string& bytes, uint32_t before) {
    return static_cast<uint32_t>(
        crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string read_text(const std::string& path, size_t most) {
    std::ifstream file = open_file(path);
    std::string text;
    char part[1 << 14];
    do {
        file.read(part, sizeof part);
        text.append(part, static_cast<size_t>(file.gcount()));
        if (text.size() > most)
            throw UserError(path + ": is longer than " + std::to_string(most) +
                            " bytes: move it away");
    } while (file);
    if (!file.eof()) throw UserError(path + ": cannot be read (" + why_unreadable(path) + ")");
    return text;
}

}  // namespace peri
