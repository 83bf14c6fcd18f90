#include "profile.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>

namespace peri {

namespace {

// "linear_forward up", where tensor is layers.3.mlp.up.weight
std::string name_of(const char* kernel, const std::string& tensor) {
    std::string name = kernel;
    if (tensor.empty()) return name;
    const size_t end = tensor.rfind('.'), begin = tensor.rfind('.', end - 1) + 1;
    return name.append(" ").append(tensor, begin, end - begin);
}

}  // namespace

double KernelTime::of_ceiling(Ceilings c) const {
    const double at_least = std::max(work.flops / c.flops, work.bytes / c.bytes);
    return at_least > 0 ? at_least / seconds : NAN;
}

template <class Real>
void Profile<Real>::begin_step() {
    if (steps_ == 1 && !warm_) {
        warm_ = true;
        sums_.clear();
        seconds_ = steps_ = 0;
    }
    running = this;
}

template <class Real>
void Profile<Real>::end_step(double seconds) {
    running = nullptr;
    sum_up();
    seconds_ += seconds;
    steps_++;
}

template <class Real>
void Profile<Real>::after_call(const char* kernel, const std::string& tensor, Work work) {
    device_mark<Real>(2 * waiting_.size() + 1);
    const std::string name = name_of(kernel, tensor);
    KernelTime& sum = sums_[name];
    sum.kernel = name;
    sum.calls++;
    sum.work.flops += work.flops;
    sum.work.bytes += work.bytes;
    waiting_.push_back(&sum);
    if (waiting_.size() == 4096) sum_up();
}

template <class Real>
void Profile<Real>::sum_up() {
    for (size_t i = 0; i < waiting_.size(); i++)
        waiting_[i]->seconds += device_seconds<Real>(2 * i, 2 * i + 1);
    waiting_.clear();
}

template <class Real>
std::vector<KernelTime> Profile<Real>::kernels() const {
    std::vector<KernelTime> means;
    KernelTime rest = {"the rest", 0, seconds(), {}};
    for (const auto& [name, sum] : sums_) {
        means.push_back({name,
                         sum.calls / steps_,
                         sum.seconds / steps_,
                         {sum.work.flops / steps_, sum.work.bytes / steps_}});
        rest.seconds -= means.back().seconds;
    }
    std::ranges::sort(means, std::greater(), &KernelTime::seconds);
    means.push_back(rest);
    return means;
}

namespace {

double step_seconds(const std::vector<KernelTime>& kernels) {
    double sum = 0;
    for (const KernelTime& k : kernels) sum += k.seconds;
    return sum;
}

// As the format says, or as many blanks where there is nothing to say.
std::string cell(const char* format, int width, double value) {
    char text[40];
    std::snprintf(text, sizeof text, format, value);
    return value > 0 ? text : std::string(width, ' ');
}

}  // namespace

std::string profile_table(const std::vector<KernelTime>& kernels, Ceilings ceilings) {
    const double step = step_seconds(kernels);
    char line[160];
    std::snprintf(line, sizeof line, "%-26s %6s %11s %7s %9s %8s %11s\n", "kernel", "calls",
                  "ms a step", "share", "GFLOP/s", "GB/s", "of ceiling");
    std::string table = line;
    for (const KernelTime& k : kernels) {
        std::snprintf(line, sizeof line, "%-26s %s %11.3f %5.1f %%", k.kernel.c_str(),
                      cell("%6.0f", 6, k.calls).c_str(), k.seconds * 1e3, 100 * k.seconds / step);
        table += line + cell(" %9.1f", 10, k.work.flops / k.seconds * 1e-9) +
                 cell(" %8.1f", 9, k.work.bytes / k.seconds * 1e-9) +
                 cell(" %9.0f %%", 0, 100 * k.of_ceiling(ceilings));
        table.erase(table.find_last_not_of(' ') + 1);
        table += "\n";
    }
    std::snprintf(line, sizeof line,
                  "a step %.3f ms; ceilings: products %.1f GFLOP/s, copies %.1f GB/s\n", step * 1e3,
                  ceilings.flops * 1e-9, ceilings.bytes * 1e-9);
    return table + line;
}

std::string profile_csv(const std::vector<KernelTime>& kernels, Ceilings ceilings) {
    const double step = step_seconds(kernels);
    std::string csv = "kernel,calls,ms,share,gflop_per_s,gb_per_s,of_ceiling\n";
    for (const KernelTime& k : kernels) {
        char row[160];
        std::snprintf(row, sizeof row, "%s,%.6g,%.6g,%.4g", k.kernel.c_str(), k.calls,
                      k.seconds * 1e3, k.seconds / step);
        csv += row;
        for (const double value : {k.work.flops / k.seconds * 1e-9, k.work.bytes / k.seconds * 1e-9,
                                   k.of_ceiling(ceilings)})
            csv.append(",").append(cell("%.5g", 0, value));
        csv += "\n";
    }
    return csv;
}

template class Profile<double>;
template class Profile<float>;
template class Profile<bf16>;
template class Profile<fp16>;

}  // namespace peri
