// The simulator's tensor core: the warp-wide instructions of gpu/mma.h as plain loops over what the
// 32 lanes hand in. gpu/mma.h says which lane holds what.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "real.h"

namespace peri {

namespace sim {

template <class Narrow>
float half_of(unsigned both, int which) {
    return std::bit_cast<Narrow>(static_cast<uint16_t>(which ? both >> 16 : both));
}

struct MmaOperands {
    float* c;
    const unsigned* a;
    unsigned b[2];
};

// How tensor cores add (Fasi et al. 2021, PeerJ Computer Science 7): they shift c and the products of a block
// to the largest exponent among them, cut off what is then below float's last place, and cut off the sum
// again, where a processor rounds to the nearest after each addition. Here without the one or two extra places
// that newer ones keep: more is lost than on those.
inline double cut(double x, double unit) { return std::trunc(x / unit) * unit; }

inline float truncated_sum(float c, const float (&products)[8]) {
    float largest = std::abs(c), any = c;
    for (const float p : products) largest = std::max(largest, std::abs(p)), any += p;
    if (largest == 0 || !std::isfinite(any)) return any;
    double sum = cut(c, std::ldexp(1.0, std::ilogb(largest) - 23));
    for (const float p : products) sum += cut(p, std::ldexp(1.0, std::ilogb(largest) - 23));
    return sum == 0 ? 0 : static_cast<float>(cut(sum, std::ldexp(1.0, std::ilogb(sum) - 23)));
}

// Whether they add so here: SIM_TRUNCATE in the environment. Else sums are a processor's.
inline bool truncating() {
    static const bool on = std::getenv("SIM_TRUNCATE") != nullptr;
    return on;
}

// c += a b, all of them gathered from the lanes' registers
template <class Narrow>
void multiply_tiles(void* const* lanes) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++) {
        const MmaOperands& mine = *static_cast<const MmaOperands*>(lanes[lane]);
        const int g = lane / 4, i = 2 * (lane % 4);
        for (int e = 0; e < 2; e++)
            for (int half = 0; half < 2; half++) {
                a[g][i + 8 * e + half] = half_of<Narrow>(mine.a[2 * e], half);
                a[g + 8][i + 8 * e + half] = half_of<Narrow>(mine.a[2 * e + 1], half);
                b[i + 8 * e + half][g] = half_of<Narrow>(mine.b[e], half);
            }
    }
    for (int lane = 0; lane < 32; lane++) {
        float* const c = static_cast<MmaOperands*>(lanes[lane])->c;
        for (int e = 0; e < 4; e++)
            for (int block = 0; block < 16; block += 8) {
                float products[8];
                for (int k = 0; k < 8; k++)
                    products[k] =
                        a[lane / 4 + e / 2 * 8][block + k] * b[block + k][2 * (lane % 4) + e % 2];
                if (truncating())
                    c[e] = truncated_sum(c[e], products);
                else
                    for (const float p : products) c[e] += p;
            }
    }
}

struct LoadOperands {
    unsigned* r;
    const void* row;
};

template <bool transposed>
void distribute_matrices(void* const* lanes) {
    for (int matrix = 0; matrix < 4; matrix++) {
        uint16_t m[8][8];
        for (int row = 0; row < 8; row++)
            for (int column = 0; column < 8; column++)
                m[row][column] = static_cast<const uint16_t*>(
                    static_cast<const LoadOperands*>(lanes[8 * matrix + row])->row)[column];
        for (int lane = 0; lane < 32; lane++) {
            const int row = lane / 4, column = 2 * (lane % 4);
            const unsigned first = transposed ? m[column][row] : m[row][column];
            const unsigned second = transposed ? m[column + 1][row] : m[row][column + 1];
            static_cast<LoadOperands*>(lanes[lane])->r[matrix] = first | second << 16;
        }
    }
}

template <bool transposed>
void load(unsigned (&r)[4], const void* row, Place place) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
        fail_thread("load_matrices", place, "a row that is not on a 16-byte boundary");
    LoadOperands mine{r, row};
    warp_operation("load_matrices", 0xffffffff, &mine, distribute_matrices<transposed>, place);
}

}  // namespace sim

template <class Narrow>
void mma_16x8x16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                 sim::Place place = sim::here()) {
    sim::MmaOperands mine{c, a, {b0, b1}};
    sim::warp_operation("mma_16x8x16", 0xffffffff, &mine, sim::multiply_tiles<Narrow>, place);
}
inline void load_matrices(unsigned (&r)[4], const void* row, sim::Place place = sim::here()) {
    sim::load<false>(r, row, place);
}
inline void load_matrices_transposed(unsigned (&r)[4], const void* row,
                                     sim::Place place = sim::here()) {
    sim::load<true>(r, row, place);
}
template <class Narrow>
unsigned pack(float first, float second) {
    return Narrow(first).bits | unsigned(Narrow(second).bits) << 16;
}

}  // namespace peri
