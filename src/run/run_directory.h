// A run's directory: one process at a time, no run over another, checkpoints found again.
#pragma once

#include <string>

#include "store/checkpoint.h"

namespace peri {

// Where a run without --out goes, made by the first process: runs/<date>-<norm>, and with -2, -3, ... behind it
// where another run has begun in the same second.
std::string default_directory(const std::string& norm);

// Whether a process trains there now.
bool is_training(const std::string& path);

class RunDirectory {
  public:
    // Makes the directory and takes its lock, which the system drops when the process ends, however
    // it ends. Throws UserError where it cannot be made, another process trains in it, or it holds
    // a run (metrics.csv, or what checkpoint.h writes) and none is to be resumed.
    // first: this process is the first of those that share the run, which alone does so.
    RunDirectory(const std::string& path, bool resuming, bool first = true);
    ~RunDirectory();
    RunDirectory(const RunDirectory&) = delete;
    RunDirectory& operator=(const RunDirectory&) = delete;

    const std::string& path() const { return path_; }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
    int lock_ = -1;
};

// Reads the checkpoint that --resume names, or with `auto` the newest in `out` that is whole; those
// that are passed over are named on stderr, and become step-<n>.damaged. Returns its path, "" where
// `auto` finds no checkpoint at all; throws UserError where there are some, but none that can be used, or
// where the named one is to go on in the directory of another run. Collective: all processes take the same one.
template <class Real>
std::string resume(const std::string& which, const std::string& out, Model<Real>& model,
                   Optimizer<Real>& optimizer);

}  // namespace peri
