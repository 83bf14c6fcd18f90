// Files that get a row after a step: what they are called, opened, and found again by a run that goes
// on.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace peri {

struct StepMetrics {
    int64_t step, tokens;  // counted from the start of the run
    double loss, grad_norm, lr, seconds, tokens_per_second;
    double mfu = 0;     // model FLOPs utilization (utilization.h), a share
    size_t memory = 0;  // bytes, device_memory_used
};

struct Validation {
    int64_t step;
    double loss;
};

// A number as metrics.csv has it, rounded to 9 digits.
double as_written(double x);

// Opens DIR/NAME for writing. Throws UserError if DIR cannot be made or written, or already holds
// such a file: no run is ever overwritten.
std::ofstream open_new_file(const std::string& directory, const std::string& name);

// A CSV file whose first column is the step. Rows reach it at once; those of steps after `done`,
// which a run that goes on will write again, and a last one that was cut off are removed first.
class StepFile {
  public:
    StepFile(const std::string& path, const std::string& header, int64_t done);

    const std::vector<std::string>& kept() const { return kept_; }  // rows
    void add(const std::string& rows);  // one or, with newlines between, several

  private:
    std::string path_;
    std::vector<std::string> kept_;
    std::ofstream file_;
};

}  // namespace peri
