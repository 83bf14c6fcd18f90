#include "run/metrics.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace peri {

MetricsFiles::MetricsFiles(const std::string& directory, int64_t done)
    : metrics_(directory + "/metrics.csv",
               "step,tokens,loss,grad_norm,lr,ms,tokens_per_s,mfu,memory_mib", done),
      validation_(directory + "/validation.csv", "step,loss", done) {}

void MetricsFiles::add(const StepMetrics& m) {
    char row[200];
    std::snprintf(row, sizeof row, "%lld,%lld,%.9g,%.9g,%.9g,%.3f,%.1f,%.3f,%zu",
                  static_cast<long long>(m.step), static_cast<long long>(m.tokens), m.loss,
                  m.grad_norm, m.lr, m.seconds * 1e3, m.tokens_per_second, m.mfu, m.memory >> 20);
    metrics_.add(row);
}

namespace {

Validation parse_validation(const std::string& row) {
    long long step = 0;
    double loss = 0;
    if (std::sscanf(row.c_str(), "%lld,%lf", &step, &loss) < 2) return {0, NAN};
    return {step, loss};
}

}  // namespace

Validation MetricsFiles::add_validation(int64_t step, double loss) {
    char row[80];
    std::snprintf(row, sizeof row, "%lld,%.9g", static_cast<long long>(step), loss);
    // a run that had only its summary left writes its last row once
    const std::vector<std::string>& kept = validation_.kept();
    if (kept.empty() || std::atoll(kept.back().c_str()) < step) validation_.add(row);
    return parse_validation(row);
}

std::vector<StepMetrics> MetricsFiles::earlier() const {
    std::vector<StepMetrics> list;
    for (const std::string& row : metrics_.kept()) {
        StepMetrics m = {};
        long long step = 0, tokens = 0;
        if (std::sscanf(row.c_str(), "%lld,%lld,%lf,%lf", &step, &tokens, &m.loss, &m.grad_norm) <
            4)
            continue;
        m.step = step;
        m.tokens = tokens;
        list.push_back(m);
    }
    return list;
}

std::vector<Validation> MetricsFiles::earlier_validations() const {
    std::vector<Validation> list;
    for (const std::string& row : validation_.kept()) list.push_back(parse_validation(row));
    return list;
}

Progress::Progress(int64_t steps, bool quiet)
    : steps_(steps), quiet_(quiet), terminal_(isatty(STDOUT_FILENO)) {}

void Progress::step(const StepMetrics& m) {
    // the time left from a mean that forgets, so that one slow step does not move it much
    mean_seconds_ = mean_seconds_ == 0 ? m.seconds : 0.9 * mean_seconds_ + 0.1 * m.seconds;
    if (quiet_) return;
    const long left = std::lround(mean_seconds_ * static_cast<double>(steps_ - m.step));
    char text[200];
    std::snprintf(text, sizeof text,
                  "step %lld/%lld  loss %.4f  grad norm %.2g  lr %.1e  %.0f ms  %.0f tokens/s  "
                  "MFU %.0f %%  %ld:%02ld left",
                  static_cast<long long>(m.step), static_cast<long long>(steps_), m.loss,
                  m.grad_norm, m.lr, m.seconds * 1e3, m.tokens_per_second, 100 * m.mfu, left / 60,
                  left % 60);
    if (terminal_) {  // a line that wraps could not be written over
        winsize window{};
        const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0;
        const int width = known ? window.ws_col - 1 : 79;
        std::printf("\r\033[K%.*s", width, text);
    } else {
        std::printf("%s\n", text);
    }
    std::fflush(stdout);
    line_open_ = terminal_;
}

void Progress::line(const std::string& text) {
    if (quiet_) return;
    std::printf("%s%s\n", line_open_ ? "\n" : "", text.c_str());
    std::fflush(stdout);
    line_open_ = false;
}

}  // namespace peri
