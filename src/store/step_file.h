// Files that get a row after a step: what they are called, opened, and found again by a run that goes
// on.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "loss_scale.h"

namespace peri {

struct StepMetrics {
    int64_t step, tokens;  // counted from the start of the run
    double loss, grad_norm, lr, seconds, tokens_per_second;
    double mfu = 0;                       // model FLOPs utilization (utilization.h), a share
    size_t memory = 0;                    // bytes, device_memory_used
    LossScale loss_scale = {1, 0, 0, 0};  // after the step
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

// A CSV file whose first column is the step. Rows reach it at once; those of steps after `done`, which a run
// that goes on will write again, and a last one that was cut off are removed first.
//
// Rows up to a checkpoint are part of its run: OUT/step-00001000/rows.txt says of each such file in OUT how
// many bytes it had then, and their CRC-32. Where they are not there any more, or of a checkpoint without
// rows.txt are not rows with steps in order, a warning says so, the file is kept as NAME.damaged, and the
// run goes on without its earlier rows. Line ends of other systems are read, and files of before columns were
// added at the end.
class StepFile {
  public:
    // Throws UserError where the file cannot be read or written, or is no such file (another header,
    // while no checkpoint knows it).
    StepFile(const std::string& path, const std::string& header, int64_t done);
    ~StepFile();
    StepFile(const StepFile&) = delete;
    StepFile& operator=(const StepFile&) = delete;

    const std::vector<std::string>& kept() const { return kept_; }  // rows
    void add(const std::string& rows);  // one or, with newlines between, several
    // Waits until all rows are on the disk. Returns the file's line in rows.txt.
    std::string synced();

  private:
    std::string path_;
    std::vector<std::string> kept_;
    int file_ = -1;
    size_t bytes_ = 0;
    uint32_t checksum_ = 0;
};

}  // namespace peri
