// What a run reports while it goes: metrics.csv and the progress line.
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

// DIR/metrics.csv and DIR/validation.csv.
class MetricsFiles {
  public:
    MetricsFiles(const std::string& directory, int64_t done);

    void add(const StepMetrics& m);
    // Returns it as the file holds it, to so many digits: what a run that goes on will know.
    Validation add_validation(int64_t step, double loss);

    // Steps done before: step, loss and gradient norm alone.
    std::vector<StepMetrics> earlier() const;
    std::vector<Validation> earlier_validations() const;

  private:
    StepFile metrics_, validation_;
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
