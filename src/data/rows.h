// Batches made row by row, each row by random numbers of its own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "batch.h"
#include "check.h"

namespace peri {

// The last coordinate of a row's random numbers: what they are for.
enum Stream : uint64_t { training_stream = 1, validation_stream = 2 };

// A batch whose row r, counted from `first`, holds the T + 1 tokens that `row(r, tokens)` writes: the
// first T, and as targets the last T.
template <class Row>
Batch make_batch(int B, int T, Row&& row, int first = 0) {
    CHECK(B >= 1 && T >= 1 && first >= 0);
    Batch batch{B, T, {}, {}};
    std::vector<int> tokens(size_t(T) + 1);
    for (int r = 0; r < B; ++r) {
        row(first + r, std::span<int>(tokens));
        batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end() - 1);
        batch.targets.insert(batch.targets.end(), tokens.begin() + 1, tokens.end());
    }
    return batch;
}

}  // namespace peri
