// What the collectives are made of: parts of a memory that go from one rank to another.
//   src/comm/mpi.cpp    between hosts; float and bf16 as well where the CPU computes them
//   src/comm/nccl.cpp   between GPUs
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace peri::comm {

// Parts on their way. Between two ranks they arrive in the order in which they were sent; who sends and
// who receives agree on the bytes of each. Until wait() returns, what is sent must not be written to,
// and what is received not be touched.
class Transfers {
  public:
    virtual ~Transfers() = default;
    virtual void send(int to, const void* from, size_t bytes) = 0;
    virtual void receive(int from, void* to, size_t bytes) = 0;
    virtual void wait() = 0;  // throws as comm.h says
};

// Between memories where Real lives.
template <class Real>
std::unique_ptr<Transfers> transfers();

// Asks done() again and again. Throws Ended when another rank has ended; UserError when the patience has,
// naming who is missing().
void wait_until(const std::function<bool()>& done, const std::function<std::string()>& missing);

}  // namespace peri::comm
