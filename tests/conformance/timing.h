// How long a kernel takes, for --time, and how near it comes to what the machine can do.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "problem.h"
#include "profile.h"
#include "run/utilization.h"

namespace peri {

// Of one forward and one backward call; 0: too few to count. A problem's forward may be several
// steps.
struct Operations {
    double forward = 0, backward = 0;
    int steps = 1;
};

// Of a call, by the device's clock, that of n in a row: a device that is idle when the first is launched
// waits for the host.
template <class Real, class Call>
double seconds_of(Call call, int n) {
    device_mark<Real>(0);
    for (int i = 0; i < n; i++) call();
    device_mark<Real>(1);
    return device_seconds<Real>(0, 1) / n;
}

// Median of at least 3 times, each of calls that last a millisecond together, and of a quarter of a second.
template <class Real, class Call>
double median_seconds(Call call) {
    const double once = std::max(seconds_of<Real>(call, 1), 1e-6);
    const int n = static_cast<int>(std::ceil(1e-3 / once));
    std::vector<double> times;
    for (double all = 0; times.size() < 3 || all < 0.25; all += n * times.back())
        times.push_back(seconds_of<Real>(call, n));
    std::ranges::nth_element(times, times.begin() + times.size() / 2);
    return times[times.size() / 2];
}

// Bytes that a call reads and writes: what is given, but for what arrives from above in forward, and
// what is written, twice where it is added to.
template <class Real>
double bytes_of(const Problem<Real>& p, Stage stage) {
    double bytes = 0;
    for (const Slot<Real>& s : p.slots()) {
        const bool from_above = s.name == "d" + p.projected();
        if (s.stage == stage ||
            (s.stage == Stage::given && !(stage == Stage::forward && from_above)))
            bytes += static_cast<double>(s.image.size()) * (s.accumulated ? 2 : 1);
    }
    return bytes;
}

// Measured once.
template <class Real>
Ceilings ceilings() {
    static const Ceilings measured = {measured_peak<Real>(true), measured_bandwidth<Real>()};
    return measured;
}

template <class Real>
std::string ceilings_line(const char* type) {
    const Ceilings c = ceilings<Real>();
    char line[100];
    std::snprintf(line, sizeof line, "%s: products %.1f GFLOP/s, copies of memory %.1f GB/s\n",
                  type, c.flops * 1e-9, c.bytes * 1e-9);
    return line;
}

template <class Real>
std::string timing(Problem<Real> p, const Operations& operations) {
    p.run();  // what there is to tune is tuned, and memory has been touched
    const Ceilings limits = ceilings<Real>();
    std::string text;
    const auto time = [&](const char* name, const std::function<void()>& call, Stage stage,
                          double flops) {
        const double seconds = median_seconds<Real>(call) / operations.steps;
        const KernelTime kernel = {name, 1, seconds, {flops, bytes_of(p, stage)}};
        char line[100];
        std::snprintf(line, sizeof line, "\n    %-8s %9.3f ms %4.0f %% of ceiling %7.1f GB/s", name,
                      seconds * 1e3, 100 * kernel.of_ceiling(limits),
                      kernel.work.bytes / seconds * 1e-9);
        text += line;
        if (flops > 0) {
            std::snprintf(line, sizeof line, " %8.1f GFLOP/s", flops / seconds * 1e-9);
            text += line;
        }
    };
    time("forward", p.forward, Stage::forward, operations.forward);
    if (p.backward) time("backward", p.backward, Stage::backward, operations.backward);
    return text;
}

}  // namespace peri
