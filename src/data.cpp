// Three of the sources of batches. Files are read where a batch needs them, so a corpus may be
// larger than memory.
#include "data.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <numeric>
#include <span>
#include <utility>

#include "check.h"
#include "random.h"
#include "samples.h"
#include "stories.h"

namespace peri {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are read as they lie on disk");

// The last coordinate of a row's random numbers: what they are for.
enum Stream : uint64_t { training_stream = 1, validation_stream = 2 };

// A batch whose row r holds the T + 1 tokens that `row(r, tokens)` writes: the first T, and as
// labels the last T.
template <class Row>
Batch make_batch(int B, int T, Row&& row) {
    CHECK(B >= 1 && T >= 1);
    Batch batch{B, T, {}, {}};
    std::vector<int> tokens(size_t(T) + 1);
    for (int r = 0; r < B; ++r) {
        row(r, std::span<int>(tokens));
        batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end() - 1);
        batch.labels.insert(batch.labels.end(), tokens.begin() + 1, tokens.end());
    }
    return batch;
}

// ------------------------------------------------------------------------------------- stories

class Stories final : public Data {
  public:
    std::string describe() const override {
        return "the built-in stories (data/stories.grammar), told anew for every batch";
    }
    int vocab() const override { return 256; }

    Batch training(uint64_t seed, int64_t step, int B, int T) const override {
        return make_batch(B, T, [&](int r, std::span<int> tokens) {
            tell_row(Rng(seed, step, r, training_stream), tokens);
        });
    }

    Batch validation(int i, int B, int T) const override {
        return make_batch(
            B, T, [&](int r, std::span<int> tokens) { tell_row(validation_rng(i, r), tokens); });
    }

    Batch whole(int64_t, int, int) const override { return {}; }
    bool bytes() const override { return true; }

    double floor(int batches, int B, int T) const override {
        CHECK(batches >= 1 && B >= 1 && T >= 1);
        double nats = 0;
        std::vector<int> tokens(size_t(T) + 1);
        for (int i = 0; i < batches; ++i) {
            for (int r = 0; r < B; ++r) nats += tell_row(validation_rng(i, r), tokens);
        }
        return nats / (double(batches) * B * T);
    }

  private:
    // No seed here: runs that differ in seed are compared on the same stories.
    static Rng validation_rng(int i, int r) { return Rng(0, i, r, validation_stream); }

    // End of text, then stories with end of text after each, as many bytes as there is room for.
    // The row begins where a story does, so all that decides a byte's probability is in the row
    // itself. Returns the nats of all bytes but the first.
    static double tell_row(Rng rng, std::span<int> tokens) {
        constexpr int end_of_text = 0;
        double nats = 0;
        size_t at = 0;
        tokens[at++] = end_of_text;
        while (at < tokens.size()) {
            const Grammar::Story story = stories().tell(rng);
            for (size_t k = 0; k < story.text.size() && at < tokens.size(); ++k) {
                tokens[at++] = static_cast<unsigned char>(story.text[k]);
                nats += story.nats[k];
            }
            if (at < tokens.size()) tokens[at++] = end_of_text;  // certain: no nats
        }
        return nats;
    }
};

// --------------------------------------------------------------------------------------- files

bool has_shard_name(const std::string& path) { return path.ends_with(".bin"); }

// What a message begins with: the flag and the file.
std::string at_file(const std::string& flag, const std::string& path) {
    return flag + " '" + path + "'";
}

// A file's bytes. It stays open, so one that is deleted or replaced is read on as it was; one
// that is cut short is noticed when a batch needs what is gone.
class DataFile {
  public:
    DataFile(const std::string& flag, const std::string& path)
        : where_(at_file(flag, path)), file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
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
            throw UserError(where_ + " is a directory; name a file in it, or a glob such as '" +
                            path + "/*.bin'");
        }
        if (!regular) throw UserError(where_ + " is not a regular file; save its content to one");
        throw UserError(where_ + " is empty; give a file that holds tokens");
    }
    DataFile(DataFile&& other) noexcept
        : where_(std::move(other.where_)),
          file_(std::exchange(other.file_, -1)),
          size_(other.size_) {}
    DataFile& operator=(DataFile&&) = delete;
    ~DataFile() {
        if (file_ >= 0) close(file_);
    }

    const std::string& where() const { return where_; }  // what a message about it begins with
    int64_t size() const { return size_; }               // when it was opened

    void read(int64_t offset, void* to, size_t bytes) const {
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

    [[noreturn]] void changed(const std::string& how) const {
        throw UserError(where_ + " was changed while it was in use (" + how +
                        "); put back what it was: a training goes on by --resume auto");
    }

  private:
    std::string where_;
    int file_;
    int64_t size_ = 0;
};

// Calls `use` with a token of `width` bytes, for its type.
template <class Use>
auto with_type(int width, Use&& use) {
    if (width == 1) return use(uint8_t());
    if (width == 2) return use(uint16_t());
    return use(uint32_t());
}

// A file as tokens of 1, 2 or 4 bytes.
class TokenFile {
  public:
    TokenFile(const std::string& flag, const std::string& path)
        : file_(flag, path), count_(file_.size()) {
        if (!has_shard_name(path)) return;
        read_header();
        largest_ = find_largest();
    }

    const std::string& where() const { return file_.where(); }
    bool is_shard() const { return width_ > 1; }
    int64_t count() const { return count_; }
    int64_t largest() const { return largest_; }  // no token is above it

    // Tokens first .. first + out.size() - 1.
    void read(int64_t first, std::span<int> out) const {
        CHECK(first >= 0 && first + static_cast<int64_t>(out.size()) <= count_);
        with_type(width_, [&]<class Token>(Token) {
            const std::vector<Token> tokens = read_tokens<Token>(first, out.size());
            const int64_t most = *std::ranges::max_element(tokens);
            if (most > largest_) file_.changed("it holds token " + std::to_string(most));
            std::ranges::copy(tokens, out.begin());
        });
    }

  private:
    template <class Token>
    std::vector<Token> read_tokens(int64_t first, size_t n) const {
        std::vector<Token> tokens(n);
        file_.read(begin_ + first * width_, tokens.data(), n * sizeof(Token));
        return tokens;
    }

    int64_t find_largest() const {
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
    void read_header() {
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

    DataFile file_;
    int64_t begin_ = 0;  // of the tokens, in bytes
    int64_t count_;      // of tokens
    int width_ = 1;      // bytes a token
    int64_t largest_ = 255;
};

// The files that `path` names: itself if it exists, else what it matches as a glob.
std::vector<std::string> find_files(const std::string& flag, const std::string& path) {
    struct stat about {};
    if (stat(path.c_str(), &about) == 0) return {path};
    const std::string where = at_file(flag, path);
    if (path.find_first_of("*?[") == std::string::npos) {
        throw UserError(where + " does not exist or cannot be reached; check the path");
    }
    glob_t matches{};
    glob(path.c_str(), 0, nullptr, &matches);
    std::vector<std::string> files(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
    globfree(&matches);
    if (files.empty()) throw UserError(where + " matches no file; check the path and its * ? [ ]");
    std::ranges::sort(files);  // the order decides what a batch holds: independent of the locale

    const auto text = std::ranges::find_if_not(files, has_shard_name);
    const auto shard = std::ranges::find_if(files, has_shard_name);
    if (text != files.end() && shard != files.end()) {
        throw UserError(where + " matches token shards ('" + *shard + "') and other files ('" +
                        *text + "'); let it match one kind");
    }
    return files;
}

// All files stay open, and there may be more than the 1,024 that a shell allows at first.
void allow_many_files() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

std::vector<TokenFile> open_files(const std::string& flag, const std::string& path) {
    allow_many_files();
    std::vector<TokenFile> files;
    for (const std::string& file : find_files(flag, path)) files.emplace_back(flag, file);
    return files;
}

// Adjacent tokens of one file.
struct Stretch {
    const TokenFile* file;
    int64_t first, count;
};

// Stretches seen as one numbered list of windows of T + 1 tokens, `stride` apart within a stretch.
// A stretch too short for a window has none, and no window spans two stretches.
class Windows {
  public:
    Windows(const std::vector<Stretch>& stretches, int T, int64_t stride)
        : stretches_(stretches), T_(T), stride_(stride) {}

    int64_t size() const {
        int64_t total = 0;
        for (const Stretch& s : stretches_) total += windows_of(s);
        return total;
    }

    void read(int64_t window, std::span<int> out) const {
        for (const Stretch& s : stretches_) {
            if (window < windows_of(s)) return s.file->read(s.first + window * stride_, out);
            window -= windows_of(s);
        }
        CHECK(!"a window beyond the last");
    }

  private:
    int64_t windows_of(const Stretch& s) const {
        return s.count > T_ ? (s.count - T_ - 1) / stride_ + 1 : 0;
    }

    const std::vector<Stretch>& stretches_;
    int T_;
    int64_t stride_;
};

// How far to step through n windows so that every window comes once before any comes again, and the
// first few, however many, lie evenly spread: near the golden section of n, and coprime to n.
int64_t even_step(int64_t n) {
    int64_t step = std::max<int64_t>(1, std::llround(double(n) * (std::numbers::phi - 1)));
    while (std::gcd(step, n) != 1) ++step;
    return step;
}

class Files final : public Data {
  public:
    Files(const std::string& path, const std::string& val_path, int T)
        : name_(path), files_(open_files("--data", path)), shards_(files_[0].is_shard()) {
        if (!val_path.empty()) {
            val_files_ = open_files("--val-data", val_path);
            if (val_files_[0].is_shard() != shards_) {
                throw UserError("--val-data '" + val_path + "' and --data '" + path +
                                "' are not of one kind; give token shards (.bin) for both or for "
                                "neither");
            }
        }
        const bool hold_out = val_path.empty();
        for (const TokenFile& f : files_) {
            const int64_t held_out = hold_out ? f.count() / 20 : 0;
            training_.push_back({&f, 0, f.count() - held_out});
            if (hold_out) validation_.push_back({&f, f.count() - held_out, held_out});
        }
        for (const TokenFile& f : val_files_) validation_.push_back({&f, 0, f.count()});

        require_window(training_, T, at_file("--data", path) + ": the part to train on",
                       "give more data or a smaller --seq");
        require_window(validation_, T,
                       hold_out ? at_file("--data", path) + ": the last 5 %, held out,"
                                : at_file("--val-data", val_path),
                       hold_out ? "give more data, a smaller --seq or --val-data"
                                : "give more data or a smaller --seq");
        vocab_ = shards_ ? scan_vocab() : 256;
    }

    std::string describe() const override {
        return name_ + ": " + std::to_string(files_.size()) +
               (shards_ ? " token shard(s), " : " text file(s) as bytes, ") +
               std::to_string(total(training_)) + " tokens to train on, " +
               std::to_string(total(validation_)) + " held out";
    }
    int vocab() const override { return vocab_; }

    // Every place where T + 1 tokens fit is as likely as any other.
    Batch training(uint64_t seed, int64_t step, int B, int T) const override {
        const Windows windows(training_, T, 1);
        const int64_t n = windows.size();
        CHECK(n > 0);
        return make_batch(B, T, [&](int r, std::span<int> tokens) {
            const uint64_t window = Rng(seed, step, r, training_stream).below(n);
            windows.read(static_cast<int64_t>(window), tokens);
        });
    }

    // Windows T apart: no token is predicted twice until all have been.
    Batch validation(int i, int B, int T) const override {
        const Windows windows(validation_, T, T);
        const int64_t n = windows.size();
        CHECK(n > 0);
        const int64_t step = even_step(n);
        return make_batch(B, T, [&](int r, std::span<int> tokens) {
            const int64_t row = (int64_t(i) * B + r) % n;
            windows.read(static_cast<int64_t>(static_cast<unsigned __int128>(row) * step % n),
                         tokens);
        });
    }

    Batch whole(int64_t i, int B, int T) const override {
        Batch batch{0, T, {}, {}};
        int64_t row = i * B;  // of those that begin in the files not looked at yet
        for (const TokenFile& f : files_) {
            const int64_t rows = (f.count() - 1 + T - 1) / T;
            for (; row < rows && batch.B < B; ++row) add_row(batch, f, row * T);
            row = std::max<int64_t>(0, row - rows);
        }
        return batch;
    }
    bool bytes() const override { return !shards_; }

    double floor(int, int, int) const override { return std::numeric_limits<double>::quiet_NaN(); }

  private:
    static int64_t total(const std::vector<Stretch>& stretches) {
        int64_t sum = 0;
        for (const Stretch& s : stretches) sum += s.count;
        return sum;
    }

    // The tokens from `first` on and their labels, or as many as the file has left.
    static void add_row(Batch& batch, const TokenFile& file, int64_t first) {
        const int n = static_cast<int>(std::min<int64_t>(batch.T, file.count() - 1 - first));
        std::vector<int> tokens(size_t(n) + 1);
        file.read(first, tokens);
        batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end() - 1);
        batch.labels.insert(batch.labels.end(), tokens.begin() + 1, tokens.end());
        ++batch.B;
        batch.tokens.resize(size_t(batch.B) * batch.T, 0);
        batch.labels.resize(size_t(batch.B) * batch.T, -1);
    }

    static void require_window(const std::vector<Stretch>& stretches, int T,
                               const std::string& what, const std::string& remedy) {
        if (Windows(stretches, T, 1).size() > 0) return;
        int64_t longest = 0;
        for (const Stretch& s : stretches) longest = std::max(longest, s.count);
        throw UserError(what + " has at most " + std::to_string(longest) +
                        " adjacent tokens, and a sequence takes --seq + 1 = " +
                        std::to_string(int64_t(T) + 1) + "; " + remedy);
    }

    int scan_vocab() const {
        constexpr int64_t limit = 1 << 24;  // far above any tokenizer's; a damaged shard exceeds it
        int64_t largest = 0;
        for (const auto* files : {&files_, &val_files_}) {
            for (const TokenFile& f : *files) {
                largest = std::max(largest, f.largest());
                if (largest < limit) continue;
                throw UserError(f.where() + " holds token " + std::to_string(largest) +
                                ", beyond any vocabulary; it is damaged: write it again");
            }
        }
        return static_cast<int>(largest + 1);
    }

    std::string name_;
    std::vector<TokenFile> files_, val_files_;
    bool shards_;
    std::vector<Stretch> training_, validation_;  // they point into the files
    int vocab_ = 0;
};

}  // namespace

Batch slice(const Batch& batch, int first, int count) {
    CHECK(first >= 0 && count >= 1 && first + count <= batch.B);
    const auto part = [&](const std::vector<int>& all) {
        const auto begin = all.begin() + size_t(first) * batch.T;
        return std::vector<int>(begin, begin + size_t(count) * batch.T);
    };
    return {count, batch.T, part(batch.tokens), part(batch.labels)};
}

int64_t label_count(const Batch& batch) {
    return std::ranges::count_if(batch.labels, [](int label) { return label >= 0; });
}

std::unique_ptr<Data> open_data(const std::string& path, const std::string& val_path, int T) {
    if (T < 1) {
        throw UserError("--seq " + std::to_string(T) + " is too small; give at least 1");
    }
    const auto has_samples_name = [](const std::string& name) { return name.ends_with(".jsonl"); };
    if (!path.empty() && !val_path.empty() &&
        has_samples_name(path) != has_samples_name(val_path)) {
        throw UserError("--val-data '" + val_path + "' and --data '" + path +
                        "' are not of one kind; give samples (.jsonl) for both or for neither");
    }
    if (has_samples_name(path)) return open_samples(path, val_path, T);
    if (!path.empty()) return std::make_unique<Files>(path, val_path, T);
    if (!val_path.empty()) {
        throw UserError("--val-data '" + val_path +
                        "' does not go with the built-in stories, which hold out their own; give "
                        "--data too");
    }
    return std::make_unique<Stories>();
}

}  // namespace peri
