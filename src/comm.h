// What the processes ("ranks") that train one model together say to each other. As with kernels.h the
// contract stands here, and which file keeps it is chosen when linking:
//   src/comm/alone.cpp         one process, which has nobody to talk to   ./train
//   src/comm/collectives.cpp   many, by transfers from one to another:
//     mpi.cpp                    MPI, between hosts                       make train_mpi
//     nccl.cpp                   NCCL, between GPUs                       make train_cuda, where it is found
//
// Every function but those of the ranks' numbers is collective: all ranks call the same ones in the same order.
// A rank that waits longer than the patience for another, or hears that another has ended, throws
// UserError naming it. Results have the same bits on every rank, and in every run of as many ranks.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "check.h"
#include "real.h"

namespace peri::comm {

// Another rank has ended, and has said why: this one ends too, without a word.
struct Ended : UserError {
    using UserError::UserError;
};

// From main's first line to its last. A rank but the first has no stdout.
class Session {
  public:
    Session();
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Tells the other ranks that this one ends, and why, so that none waits for it. False where an
    // earlier rank ends for the same reason and says so. Not collective.
    bool fail(const std::string& why);
};

int rank();
int size();

// Its number among the ranks on its machine, and how many they are.
int local_rank();
int local_size();

// Threads that a rank should use: the machine's cores shared by the ranks on it. 0: no opinion.
int threads();

// How long to wait for another rank.
void set_patience(double seconds);

// Where the pieces of the ranks begin and end: rank r has bounds[r] .. bounds[r + 1].
using Bounds = std::vector<size_t>;

// numbers[i] = sum over the ranks of their numbers[i], for i in this rank's piece, added in the order
// of tree.h. Elsewhere `numbers` is as it was.
//   numbers on the device where Real lives
//   bytes of the workspace (device.h), which it reserves itself: reduce_scatter_workspace
template <class Real>
void reduce_scatter(Accum<Real>* numbers, const Bounds& bounds);

constexpr size_t reduced_at_once = size_t(1) << 20;  // numbers from each rank
template <class Real>
constexpr size_t reduce_scatter_workspace(int ranks) {
    return ranks > 1 ? ranks * reduced_at_once * sizeof(Accum<Real>) : 0;
}

// Every rank's piece of `memory` goes to all others, to the same place.
//   memory on the device where Real lives   bounds in bytes
template <class Real>
void all_gather(void* memory, const Bounds& bounds);

// The ranks' pieces, one after the other, on rank 0's host; nothing on the others.
//   piece on the device where Real lives, bounds[r + 1] - bounds[r] bytes of it
template <class Real>
std::vector<char> gather(const void* piece, const Bounds& bounds);

// What each rank says, by rank; all say as many numbers.
std::vector<std::vector<double>> exchange(const std::vector<double>& mine);

// What rank 0 says, on all.
std::string from_first(const std::string& mine);

// The sum in the order of tree.h, and the largest, of what the ranks say.
double sum(double mine);
double largest(double mine);

}  // namespace peri::comm
