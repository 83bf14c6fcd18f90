// Where the time of training steps goes (--profile): every call of a kernel of the contract, between two
// marks on the device (device.h), summed by kernel. A GPU is waited for only at a step's end, or when many
// calls have not been summed yet: it computes as it does without, and the same bits.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "device.h"
#include "work.h"

namespace peri {

// What the machine can do at most, a second (run/utilization.h).
struct Ceilings {
    double flops, bytes;
};

struct KernelTime {
    std::string kernel;
    double calls = 0, seconds = 0;  // of a step
    Work work;                      // likewise

    // the share that the machine at its ceilings would need of these seconds; NAN: there is no work
    double of_ceiling(Ceilings c) const;
};

template <class Real>
class Profile {
  public:
    ~Profile() { running = nullptr; }

    void begin_step();
    void end_step(double seconds);  // which it took by the host's clock

    // Means of all steps but the first, which touches memory for the first time (of it, where there is
    // no other): the longest first, "the rest" of the step last.
    std::vector<KernelTime> kernels() const;
    int steps() const { return steps_; }
    double seconds() const { return seconds_ / steps_; }  // a step

    static inline Profile* running = nullptr;  // the one whose step it is

    // around each call: see Timed
    void before_call() { device_mark<Real>(2 * waiting_.size()); }
    void after_call(const char* kernel, const std::string& tensor, Work work);

  private:
    void sum_up();

    std::map<std::string, KernelTime> sums_;
    std::vector<KernelTime*> waiting_;  // of the calls that are to be summed: marks 2 i and 2 i + 1
    int steps_ = 0;
    bool warm_ = false;
    double seconds_ = 0;
};

// Lives as long as the call of a kernel that it stands in front of. tensor: the one that tells calls of this
// kernel apart, such as layers.3.mlp.up.weight, where there is one.
template <class Real>
class Timed {
  public:
    Timed(const char* kernel, Work work, const std::string& tensor = none())
        : kernel_(kernel), tensor_(tensor), work_(work) {
        if (Profile<Real>::running) Profile<Real>::running->before_call();
    }
    ~Timed() {
        if (Profile<Real>::running) Profile<Real>::running->after_call(kernel_, tensor_, work_);
    }
    Timed(const Timed&) = delete;
    Timed& operator=(const Timed&) = delete;

  private:
    static const std::string& none() {
        static const std::string empty;
        return empty;
    }
    const char* kernel_;
    const std::string& tensor_;
    Work work_;
};

// The table for the terminal, and profile.csv.
std::string profile_table(const std::vector<KernelTime>& kernels, Ceilings ceilings);
std::string profile_csv(const std::vector<KernelTime>& kernels, Ceilings ceilings);

}  // namespace peri
