// OUT/probe.csv: the paper's measurements at some steps, and spikes at any.
#pragma once

#include "probe/probe.h"
#include "probe/spikes.h"
#include "store/step_file.h"

namespace peri {

class ProbeFile {
  public:
    // For a run that has done so many steps, and what metrics.csv has of them. Rows of later ones
    // are removed, and where there are none those of step 0, which begins again.
    ProbeFile(const std::string& directory, int64_t done, const std::vector<StepMetrics>& earlier);

    void add(int64_t step, const std::vector<Measurement>& list);
    std::string synced() { return file_.synced(); }  // its line of rows.txt (step_file.h)

    // Comes after every step: a row `spike`, with how many times the median it is, where it is one.
    void after(const StepMetrics& m);

  private:
    StepFile file_;
    SpikeWatch spikes_;
};

}  // namespace peri
