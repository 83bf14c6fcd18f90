#include "metrics.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "check.h"

namespace peri {

std::ofstream open_new_file(const std::string& directory, const std::string& name) {
    const std::string path = directory + "/" + name;
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error)
        throw UserError("--out " + directory + ": cannot make this directory (" + error.message() +
                        "): choose another");
    if (std::filesystem::exists(path, error))
        throw UserError("--out " + directory + " already holds a run (" + name +
                        "): choose another directory or move it away");
    std::ofstream file(path);
    if (!file)
        throw UserError("--out " + directory + ": cannot write " + name + " there: choose another");
    return file;
}

MetricsFile::MetricsFile(const std::string& directory)
    : path_(directory + "/metrics.csv"), file_(open_new_file(directory, "metrics.csv")) {
    file_ << "step,tokens,loss,grad_norm,lr,ms,tokens_per_s\n" << std::flush;
    if (!file_) throw UserError(path_ + ": cannot write (is the disk full?): free some space");
}

void MetricsFile::add(const StepMetrics& m) {
    char row[200];
    std::snprintf(row, sizeof row, "%lld,%lld,%.9g,%.9g,%.9g,%.3f,%.1f\n",
                  static_cast<long long>(m.step), static_cast<long long>(m.tokens), m.loss,
                  m.grad_norm, m.lr, m.seconds * 1e3, m.tokens_per_second);
    file_ << row << std::flush;
    if (!file_) throw UserError(path_ + ": cannot write (is the disk full?): free some space");
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
                  "%ld:%02ld left",
                  static_cast<long long>(m.step), static_cast<long long>(steps_), m.loss,
                  m.grad_norm, m.lr, m.seconds * 1e3, m.tokens_per_second, left / 60, left % 60);
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
