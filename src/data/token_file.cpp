#include "data/token_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "check.h"

namespace peri {

static_assert(std::endian::native == std::endian::little, "shards are read as they lie on disk");

bool has_shard_name(const std::string& path) { return path.ends_with(".bin"); }

std::string at_file(const std::string& flag, const std::string& path) {
    return flag + " '" + path + "'";
}

// ---- bytes --------------------------------------------------------------------------------------

DataFile::DataFile(const std::string& flag, const std::string& path)
    : where_(at_file(flag, path)), file_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (file_ < 0) {
        throw UserError(where_ + " cannot be opened: " + std::strerror(errno) + "; " +
                        (errno == EMFILE ? "write fewer and larger shards, or raise ulimit -n"
                                         : "give the path of a readable file"));
    }
    struct stat about {};
    const bool regular = fstat(file_, &about) == 0 && S_ISREG(about.st_mode);
    size_ = regular ? about.st_size : 0;
    if (size_ > 0) return;
    close(file_);
    if (S_ISDIR(about.st_mode)) {
        throw UserError(where_ + " is a directory; name a file in it, or a glob such as '" + path +
                        "/*.bin'");
    }
    if (!regular)
        throw UserError(where_ +
                        " is not a regular file, and batches are drawn from all over it; save "
                        "its content to one (data/prepare.py reads what is piped into it)");
    throw UserError(where_ + " is empty; give a file that holds tokens");
}

DataFile::DataFile(DataFile&& other) noexcept
    : where_(std::move(other.where_)), file_(std::exchange(other.file_, -1)), size_(other.size_) {}

DataFile::~DataFile() {
    if (file_ >= 0) close(file_);
}

void DataFile::read(int64_t offset, void* to, size_t bytes) const {
    char* next = static_cast<char*>(to);
    while (bytes > 0) {
        const ssize_t n = pread(file_, next, bytes, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            throw UserError(where_ + " cannot be read: " + std::strerror(errno) +
                            "; copy it to a local disk");
        }
        if (n == 0) changed("it is shorter");
        next += n;
        offset += n;
        bytes -= static_cast<size_t>(n);
    }
}

void DataFile::changed(const std::string& how) const {
    throw UserError(where_ + " was changed while it was in use (" + how +
                    "); put back what it was: a training goes on by --resume auto");
}

// ---- tokens -------------------------------------------------------------------------------------

namespace {

// Calls `use` with a token of `width` bytes, for its type.
template <class Use>
auto with_type(int width, Use&& use) {
    if (width == 1) return use(uint8_t());
    if (width == 2) return use(uint16_t());
    return use(uint32_t());
}

}  // namespace

TokenFile::TokenFile(const std::string& flag, const std::string& path)
    : file_(flag, path), count_(file_.size()) {
    if (!has_shard_name(path)) return;
    read_header();
    largest_ = find_largest();
}

template <class Token>
std::vector<Token> TokenFile::read_tokens(int64_t first, size_t n) const {
    std::vector<Token> tokens(n);
    file_.read(begin_ + first * width_, tokens.data(), n * sizeof(Token));
    return tokens;
}

void TokenFile::read(int64_t first, std::span<int> out) const {
    CHECK(first >= 0 && first + static_cast<int64_t>(out.size()) <= count_);
    with_type(width_, [&]<class Token>(Token) {
        const std::vector<Token> tokens = read_tokens<Token>(first, out.size());
        const int64_t most = *std::ranges::max_element(tokens);
        if (most > largest_) file_.changed("it holds token " + std::to_string(most));
        std::ranges::copy(tokens, out.begin());
    });
}

int64_t TokenFile::find_largest() const {
    constexpr int64_t piece = 1 << 20;
    int64_t largest = 0;
    for (int64_t first = 0; first < count_; first += piece) {
        with_type(width_, [&]<class Token>(Token) {
            const auto tokens = read_tokens<Token>(first, std::min(piece, count_ - first));
            largest = std::max<int64_t>(largest, *std::ranges::max_element(tokens));
        });
    }
    return largest;
}

// llm.c's shard: 256 int32 of header (magic, version, number of tokens), then the tokens.
void TokenFile::read_header() {
    constexpr int64_t header_bytes = 256 * sizeof(int32_t);
    const int64_t size = count_;
    if (size < header_bytes) {
        throw UserError(where() + " has " + std::to_string(size) +
                        " bytes, fewer than a shard's header of 1024; write the shard again");
    }
    int32_t header[3];
    file_.read(0, header, sizeof header);
    const auto [magic, version, n] = header;
    if (magic != 20240520 && magic != 20240801) {
        throw UserError(where() + " begins with " + std::to_string(magic) +
                        ", not with an llm.c shard's 20240520 (uint16) or 20240801 (uint32); "
                        "make it with llm.c's data scripts, or rename a text file to .txt");
    }
    width_ = magic == 20240520 ? 2 : 4;
    const int known_version = width_ == 2 ? 1 : 7;
    if (version != known_version) {
        throw UserError(where() + " is a shard of version " + std::to_string(version) +
                        ", and version " + std::to_string(known_version) +
                        " goes with its magic number; make it with llm.c's data scripts");
    }
    if (n <= 0) {
        throw UserError(where() + " says that it holds " + std::to_string(n) +
                        " tokens; a shard holds 1 to 2147483647: write it again");
    }
    if (size != header_bytes + int64_t(n) * width_) {
        throw UserError(where() + " has " + std::to_string(size) + " bytes where its " +
                        std::to_string(n) + " tokens need " +
                        std::to_string(header_bytes + int64_t(n) * width_) +
                        "; it was cut short or damaged: copy or write it again");
    }
    begin_ = header_bytes;
    count_ = n;
}

}  // namespace peri
