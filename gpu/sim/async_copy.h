// The simulator's asynchronous copies of gpu/mma.h: 16 bytes are on their way from copy_later until the
// thread that sent them waits. Until then NaN lies where they will, so that whoever reads too early, or
// still reads what was there, is found by what comes out; race mode sees both writes too, and so finds a
// barrier that is missing before the copy or behind the wait.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "real.h"

namespace peri {

namespace sim {

struct Copy {
    unsigned char* to;
    const unsigned char* from;
    bool valid;
    unsigned group;
};

// Those of the thread that runs, and how many groups it has ended (simulator.cpp). A thread that ends
// before it has waited for them stops the program.
std::vector<Copy>& copies_of_thread();
unsigned& groups_of_thread();

}  // namespace sim

inline void copy_later(void* to_shared, const void* from, bool valid,
                       sim::Place place = sim::here()) {
    if (reinterpret_cast<uintptr_t>(to_shared) % 16 != 0 ||
        reinterpret_cast<uintptr_t>(from) % 16 != 0)
        sim::fail_thread("copy_later", place, "an address that is not on a 16-byte boundary");
    auto* const to = reinterpret_cast<unsigned char*>(to_shared);
    for (int i = 0; i < 16; i++) to[i] = 0xff;
    sim::copies_of_thread().push_back(
        {to, reinterpret_cast<const unsigned char*>(from), valid, sim::groups_of_thread()});
}

inline void end_group_of_copies() { sim::groups_of_thread()++; }

template <int later>
void wait_for_copies() {
    std::vector<sim::Copy>& copies = sim::copies_of_thread();
    size_t arrived = 0;
    for (const sim::Copy& copy : copies) {  // in the order of their groups
        if (copy.group + later >= sim::groups_of_thread()) break;
        for (int i = 0; i < 16; i++) copy.to[i] = copy.valid ? copy.from[i] : 0;
        arrived++;
    }
    copies.erase(copies.begin(), copies.begin() + arrived);
}

// As the hardware's ex2.approx.ftz, but for its last bits.
inline float exp2_fast(float x) {
    const float result = exp2f(x);
    return result < 0x1p-126f ? 0 : result;
}

}  // namespace peri
