// What a run reports while it goes: metrics.csv and the progress line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "run/sparkline.h"
#include "store/step_file.h"

namespace peri {

// DIR/metrics.csv and DIR/validation.csv.
class MetricsFiles {
  public:
    MetricsFiles(const std::string& directory, int64_t done);

    void add(const StepMetrics& m);
    // Returns it as the file holds it, to so many digits: what a run that goes on will know.
    Validation add_validation(int64_t step, double loss);

    // Waits until all is on the disk. Returns the lines of a checkpoint's rows.txt (step_file.h).
    std::string synced() { return metrics_.synced() + validation_.synced(); }

    // Steps done before: step, loss and gradient norm alone.
    std::vector<StepMetrics> earlier() const;
    std::vector<Validation> earlier_validations() const;

  private:
    StepFile metrics_, validation_;
};

// One line a step on stdout: plain lines, or on a terminal one that is rewritten in place and as wide as
// the window at most, with the losses so far as a sparkline (where the locale is UTF-8), in colour unless
// the environment has NO_COLOR (no-color.org).
class Progress {
  public:
    Progress(int64_t steps, bool quiet);
    void step(const StepMetrics& m);
    void line(const std::string& text);  // on a line of its own, after the progress so far

  private:
    int64_t steps_;
    std::string line_of(const StepMetrics& m, size_t width) const;

    bool quiet_, terminal_, line_open_ = false;  // open: on a terminal, not yet ended
    bool utf8_, colours_;
    Sparkline losses_;
    double mean_seconds_ = 0;
};

}  // namespace peri
