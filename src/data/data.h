// Where tokens come from: the built-in stories, text files as bytes, llm.c token shards, or samples
// of prompt and completion (samples.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "batch.h"

namespace peri {

// A source of batches, each a pure function of (seed, step): the step is the whole position of a
// run.
class Data {
  public:
    virtual ~Data() = default;
    virtual std::string describe() const = 0;  // one line for the user
    virtual int vocab() const = 0;             // tokens are in 0 .. vocab() - 1
    // Sequences that make an epoch; 0: the source has no epochs.
    virtual int64_t epoch() const { return 0; }
    // Steps count from 1.
    Batch training(uint64_t seed, int64_t step, int B, int T) const {
        return training_rows(seed, step, B, T, 0, B);
    }
    // Rows first .. first + count - 1 of that batch.
    virtual Batch training_rows(uint64_t seed, int64_t step, int B, int T, int first,
                                int count) const = 0;
    // Held-out batch i of a fixed set: the same for every seed and every run.
    virtual Batch validation(int i, int B, int T) const = 0;
    // Batch i of the whole of the files, in order, for --evaluate: rows of T tokens, of which a
    // file's last one may be filled up with target -1, so that every token but a file's first is a
    // target once. The last batch may have fewer rows than B; those after it have none. The stories
    // have no end and give none at all.
    virtual Batch whole(int64_t i, int B, int T) const = 0;
    virtual bool bytes() const = 0;  // a token is a byte of text
    // Nats per token that no model can beat on validation(0 .. batches-1), or NaN where unknown.
    virtual double floor(int batches, int B, int T) const = 0;
};

// Which T + 1 tokens of a text or of shards a row of a training batch takes: any, all places as likely; or of windows T
// apart each once before any a second time, in an order of the seed's.
enum class Draw { random, once };

// path "" is the built-in stories. A path that ends in .jsonl is samples (samples.h). A path or
// glob whose files end in .bin is llm.c token shards (uint16 or uint32), any other path or glob
// text files read as bytes. val_path "" holds out the last 5 % of each file. A path that exists is
// taken as it is, whatever * ? [ it holds. Throws UserError (src/check.h) naming the file, what is
// wrong with it and the remedy: no such file, a directory, empty, too short for one sequence of
// T + 1 tokens in either part, bad magic, a count that is negative or does not match the file's
// size.
std::unique_ptr<Data> open_data(const std::string& path, const std::string& val_path, int T,
                                Draw draw = Draw::random);

}  // namespace peri
