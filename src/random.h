// Random numbers that are a pure function of what they are for: Rng(seed, step, row, ...).
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace peri {

// SplitMix64: a 64-bit counter through a mixing function. Streams are told apart by hashing their
// coordinates into the start of the counter, so nothing has to be saved to resume a run.
class Rng {
  public:
    template <class... Coordinates>
    explicit Rng(uint64_t seed, Coordinates... coordinates) : state_(mix(seed + increment)) {
        ((state_ = mix(state_ ^ mix(static_cast<uint64_t>(coordinates) + increment))), ...);
    }

    uint64_t next() { return mix(state_ += increment); }

    // as if n had been drawn
    void skip(uint64_t n) { state_ += n * increment; }

    // uniform in [0, 1), 53 bits
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

    // uniform in 0 .. n-1 (n far below 2^53, so the bias is far below what any run could show)
    uint64_t below(uint64_t n) { return static_cast<uint64_t>(uniform() * static_cast<double>(n)); }

    // standard normal, by Box and Muller's cosine: of two numbers drawn
    double normal() {
        const double radius = std::sqrt(-2 * std::log(1 - uniform()));
        return radius * std::cos(2 * std::numbers::pi * uniform());
    }

  private:
    static constexpr uint64_t increment = 0x9e3779b97f4a7c15;
    static constexpr uint64_t mix(uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    uint64_t state_;
};

}  // namespace peri
