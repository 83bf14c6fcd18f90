#include "data/corpus.h"

#include <glob.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "check.h"
#include "data/rows.h"
#include "data/token_file.h"
#include "random.h"

namespace peri {
namespace {

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

// Where number i of 0 .. n - 1 comes to in a pass's own order: a Feistel network over as many bits as hold n, again
// until it falls below n.
int64_t shuffled(uint64_t seed, int64_t pass, int64_t i, int64_t n) {
    int half = 1;  // of the bits
    while (int64_t(1) << 2 * half < n) half++;
    const uint64_t mask = (uint64_t(1) << half) - 1;
    auto x = static_cast<uint64_t>(i);
    do {
        uint64_t left = x >> half, right = x & mask;
        for (int round = 0; round < 4; round++) {
            left ^= Rng(seed, pass, round, right, training_stream).next() & mask;
            std::swap(left, right);
        }
        x = left << half | right;
    } while (x >= static_cast<uint64_t>(n));
    return static_cast<int64_t>(x);
}

class Corpus final : public Data {
  public:
    Corpus(const std::string& path, const std::string& val_path, int T, Draw draw)
        : name_(path),
          files_(open_files("--data", path)),
          shards_(files_[0].is_shard()),
          draw_(draw) {
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

    Batch training_rows(uint64_t seed, int64_t step, int B, int T, int first,
                        int count) const override {
        const bool once = draw_ == Draw::once;
        const Windows windows(training_, T, once ? T : 1);
        const int64_t n = windows.size();
        CHECK(n > 0);
        const auto row = [&](int r, std::span<int> tokens) {
            const int64_t before = (step - 1) * B + r;  // rows of the run
            const auto any = [&] { return Rng(seed, step, r, training_stream).below(n); };
            windows.read(
                once ? shuffled(seed, before / n, before % n, n) : static_cast<int64_t>(any()),
                tokens);
        };
        return make_batch(count, T, row, first);
    }

    // Windows T apart: no token is predicted twice until all have been, but for a rest shorter than a window.
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

    // The tokens from `first` on and their targets, or as many as the file has left.
    static void add_row(Batch& batch, const TokenFile& file, int64_t first) {
        const int n = static_cast<int>(std::min<int64_t>(batch.T, file.count() - 1 - first));
        std::vector<int> tokens(size_t(n) + 1);
        file.read(first, tokens);
        batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end() - 1);
        batch.targets.insert(batch.targets.end(), tokens.begin() + 1, tokens.end());
        ++batch.B;
        batch.tokens.resize(size_t(batch.B) * batch.T, 0);
        batch.targets.resize(size_t(batch.B) * batch.T, -1);
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
    Draw draw_;
    std::vector<Stretch> training_, validation_;  // they point into the files
    int vocab_ = 0;
};

}  // namespace

std::unique_ptr<Data> open_corpus(const std::string& path, const std::string& val_path, int T,
                                  Draw draw) {
    return std::make_unique<Corpus>(path, val_path, T, draw);
}

}  // namespace peri
