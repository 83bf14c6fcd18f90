#include "data/samples.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "check.h"
#include "json.h"
#include "open_file.h"
#include "random.h"

namespace peri {
namespace {

constexpr char end_of_text = '\0';
const char* const example = R"({"prompt": "...", "completion": "..."})";

// Prompt, completion, end of text; the targets begin with the byte at `completion`.
struct Sample {
    std::string text;
    size_t completion;

    bool has_target(int T) const { return completion <= size_t(T); }
    bool is_cut(int T) const { return text.size() > size_t(T) + 1; }
};

// ------------------------------------------------------------------------------------- reading

std::string text_of(const nlohmann::json& line, const char* key, const std::string& where) {
    const auto found = line.find(key);
    if (found == line.end()) {
        throw UserError(where + " has no \"" + key + "\": write it as " + example);
    }
    if (!found->is_string()) {
        throw UserError(where + ": its " + key + " is a JSON " + found->type_name() +
                        ": make it a text in quotation marks");
    }
    std::string text = found->get<std::string>();
    if (text.find(end_of_text) != std::string::npos) {
        throw UserError(where + ": its " + key +
                        " holds a NUL byte, which is the end of a text here: take it out");
    }
    return text;
}

Sample parse_sample(const std::string& text, const std::string& where) {
    constexpr bool no_exceptions = false;
    const nlohmann::json line = nlohmann::json::parse(text, nullptr, no_exceptions);
    if (line.is_discarded()) {
        throw UserError(where + " is not JSON in UTF-8: write it as " + example);
    }
    if (!line.is_object()) {
        throw UserError(where + " is a JSON " + line.type_name() + ": write it as " + example);
    }
    const std::string prompt = text_of(line, "prompt", where);
    const std::string completion = text_of(line, "completion", where);
    if (completion.empty()) {
        throw UserError(where + ": its completion is empty: write one, or take out the line");
    }
    const std::string before = prompt.empty() ? std::string(1, end_of_text) : prompt;
    return {before + completion + end_of_text, before.size()};
}

// Every line that is not blank.
std::vector<Sample> read_samples(const std::string& where, const std::string& path) {
    std::vector<Sample> samples;
    std::ifstream file = open_file(path);
    int64_t number = 1;
    for (std::string line; std::getline(file, line); ++number) {
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        samples.push_back(parse_sample(line, where + ", line " + std::to_string(number)));
    }
    if (!file.is_open() || file.bad()) {
        throw UserError(where + " cannot be read (" + why_unreadable(path) +
                        "): give the path of one file");
    }
    if (samples.empty()) {
        throw UserError(where + " holds no sample: write lines such as " + example);
    }
    return samples;
}

// ------------------------------------------------------------------------------------- batches

// The samples of an epoch in their order: Fisher and Yates.
std::vector<int64_t> permutation(int64_t n, uint64_t seed, int64_t epoch) {
    std::vector<int64_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    Rng rng(seed, epoch);
    for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[rng.below(i + 1)]);
    return order;
}

void append(Batch& batch, const Sample& sample) {
    const auto byte = [&](size_t i) {
        return i < sample.text.size() ? static_cast<unsigned char>(sample.text[i]) : -1;
    };
    for (size_t t = 0; t < size_t(batch.T); ++t) {
        batch.tokens.push_back(std::max<int>(byte(t), end_of_text));
        batch.targets.push_back(t + 1 >= sample.completion ? byte(t + 1) : -1);
    }
}

class Samples final : public Data {
  public:
    Samples(const std::string& path, const std::string& val_path, int T)
        : name_(path), seq_(T), one_file_(val_path.empty()) {
        const std::string where = "--data '" + path + "'";
        const std::string val_where = val_path.empty() ? where + ": the last 5 %, held out,"
                                                       : "--val-data '" + val_path + "'";
        training_ = read_samples(where, path);
        if (!val_path.empty()) {
            validation_ = read_samples(val_where, val_path);
        } else if (training_.size() > 1) {
            const auto held_out = static_cast<int64_t>(std::max<size_t>(1, training_.size() / 20));
            validation_.assign(training_.end() - held_out, training_.end());
            training_.erase(training_.end() - held_out, training_.end());
        } else {
            throw UserError(where + " has one sample, and some are held out: give more, or " +
                            "--val-data too");
        }
        leave_out_untargeted(training_, where + ": the part to train on");
        leave_out_untargeted(validation_, val_where);
    }

    std::string describe() const override {
        int64_t cut = 0;
        for (const auto* samples : {&training_, &validation_}) {
            cut += std::ranges::count_if(*samples, [&](const auto& s) { return s.is_cut(seq_); });
        }
        std::string text = name_ + ": " + std::to_string(training_.size()) +
                           " samples to train on, " + std::to_string(validation_.size()) +
                           " held out, loss on completions only";
        if (cut) text += "; " + std::to_string(cut) + " cut to --seq " + std::to_string(seq_);
        if (left_out_) {
            text += "; " + std::to_string(left_out_) +
                    " left out, whose prompts are longer than --seq " + std::to_string(seq_);
        }
        return text;
    }
    int vocab() const override { return 256; }
    int64_t epoch() const override { return static_cast<int64_t>(training_.size()); }

    // Epoch after epoch, without a gap: step s is rows (s-1) B .. s B - 1 of them.
    Batch training_rows(uint64_t seed, int64_t step, int B, int T, int first,
                        int count) const override {
        CHECK(step >= 1 && T >= 1 && first >= 0 && count >= 1 && first + count <= B);
        Batch batch{count, T, {}, {}};
        std::vector<int64_t> order;
        const int64_t begin = (step - 1) * B + first;
        for (int64_t row = begin; row < begin + count; ++row) {
            const int64_t place = row % epoch();
            if (order.empty() || place == 0) order = permutation(epoch(), seed, row / epoch());
            append(batch, training_[order[place]]);
        }
        return batch;
    }

    // In the file's order: none comes again until all have come.
    Batch validation(int i, int B, int T) const override {
        CHECK(i >= 0 && B >= 1 && T >= 1);
        Batch batch{B, T, {}, {}};
        for (int r = 0; r < B; ++r) {
            append(batch, validation_[(size_t(i) * B + r) % validation_.size()]);
        }
        return batch;
    }

    // The samples to train on, then those held out of the same file.
    Batch whole(int64_t i, int B, int T) const override {
        Batch batch{0, T, {}, {}};
        const int64_t all = epoch() + (one_file_ ? static_cast<int64_t>(validation_.size()) : 0);
        for (int64_t row = i * B; row < std::min((i + 1) * B, all); ++row, ++batch.B) {
            append(batch, row < epoch() ? training_[row] : validation_[row - epoch()]);
        }
        return batch;
    }
    bool bytes() const override { return true; }

    double floor(int, int, int) const override { return std::numeric_limits<double>::quiet_NaN(); }

  private:
    void leave_out_untargeted(std::vector<Sample>& samples, const std::string& where) {
        left_out_ += std::erase_if(samples, [&](const auto& s) { return !s.has_target(seq_); });
        if (samples.empty()) {
            throw UserError(where + " has only prompts longer than --seq " + std::to_string(seq_) +
                            ", which leave no room for a completion: give a larger --seq");
        }
    }

    std::string name_;
    int seq_;
    bool one_file_;  // the held-out samples are of the same
    std::vector<Sample> training_, validation_;
    size_t left_out_ = 0;
};

}  // namespace

std::unique_ptr<Data> open_samples(const std::string& path, const std::string& val_path, int T) {
    return std::make_unique<Samples>(path, val_path, T);
}

}  // namespace peri
