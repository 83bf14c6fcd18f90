// What a run reports while it goes: metrics.csv and the progress line.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace peri {

struct StepMetrics {
    int64_t step, tokens;  // counted from the start of the run
    double loss, grad_norm, lr, seconds, tokens_per_second;
};

// Opens DIR/NAME for writing. Throws UserError if DIR cannot be made or written, or already holds
// such a file: no run is ever overwritten.
std::ofstream open_new_file(const std::string& directory, const std::string& name);

// DIR/metrics.csv, one row a step.
class MetricsFile {
  public:
    explicit MetricsFile(const std::string& directory);
    void add(const StepMetrics& m);

  private:
    std::string path_;
    std::ofstream file_;
};

// One line a step on stdout: rewritten in place on a terminal, plain lines otherwise.
class Progress {
  public:
    Progress(int64_t steps, bool quiet);
    void step(const StepMetrics& m);
    void line(const std::string& text);  // on a line of its own, after the progress so far

  private:
    int64_t steps_;
    bool quiet_, terminal_, line_open_ = false;  // open: on a terminal, not yet ended
    double mean_seconds_ = 0;
};

}  // namespace peri
