// What fits into a memory: planned, without allocating anything.
#pragma once

#include <string>

#include "model.h"
#include "run/run_config.h"

namespace peri {

template <class Real>
MemoryPlan plan(const RunConfig& run);

// Bytes that this process may take: --memory, else what the device has left, shared with the processes
// beside it; 0: not known.
template <class Real>
size_t memory_for(const RunConfig& run);

// The largest --batch that divides a step's sequences and fits into so many bytes; 0: none does.
template <class Real>
int largest_batch(const RunConfig& run, size_t memory);

// The flags with which the same step fits, in the largest pieces that do: "--batch 4 --accumulate 4
// fits (3100 MiB)". Where none do, with more --recompute, then a shorter sequence, last a smaller
// size (inference: batch and sequence alone).
template <class Real>
std::string what_fits(const RunConfig& run, size_t memory);

// Throws UserError saying what the run needs, what is left and what fits.
template <class Real>
void check_memory(const RunConfig& run);

}  // namespace peri
