// Which of a step's sequences a process computes, where several share a training (comm.h).
#pragma once

#include <string>

#include "run/run_config.h"

namespace peri {

struct Share {
    int first, count;  // sequences of the step
};

// Of process `rank` of run.ranks: adjacent sequences, as many for each. With --reproducible they are a
// power of two of whole micro-batches, a sub-tree of the step's (tree.h). Throws UserError where a step
// cannot be shared so.
Share share_of(const RunConfig& run, int rank);

// Throws UserError where the processes do not have the same program, settings and data (as its
// describe() says). Collective.
void require_same_run(const RunConfig& run, const std::string& data);

}  // namespace peri
