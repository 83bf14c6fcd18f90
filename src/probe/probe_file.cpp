#include "probe/probe_file.h"

#include "check.h"

namespace peri {

ProbeFile::ProbeFile(const std::string& directory, int64_t done,
                     const std::vector<StepMetrics>& earlier)
    : file_(directory + "/probe.csv", probe_header, done ? done : -1) {
    for (const StepMetrics& m : earlier) spikes_.after(m.grad_norm);
}

void ProbeFile::add(int64_t step, const std::vector<Measurement>& list) {
    CHECK(!list.empty());
    std::string rows;
    for (const Measurement& m : list) rows += csv_row(step, m) + '\n';
    rows.pop_back();
    file_.add(rows);
}

void ProbeFile::after(const StepMetrics& m) {
    // rounded as in metrics.csv, from where a run that goes on has its norms
    if (const auto ratio = spikes_.after(as_written(m.grad_norm)))
        add(m.step, {{Measurement::whole_model, "spike", *ratio}});
}

}  // namespace peri
