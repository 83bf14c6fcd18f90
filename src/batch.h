// What a step works on: sequences of tokens, and what follows each.
#pragma once

#include <cstdint>
#include <vector>

namespace peri {

// B sequences of T tokens and, for each token, the token that follows it (-1: no target).
struct Batch {
    int B = 0, T = 0;
    std::vector<int> tokens;   // (B,T)
    std::vector<int> targets;  // (B,T)
};

// Sequences first .. first + count - 1 of a batch.
Batch slice(const Batch& batch, int first, int count);

// The targets that count: those that are not -1.
int64_t target_count(const Batch& batch);

}  // namespace peri
