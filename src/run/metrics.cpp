#include "run/metrics.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace peri {

MetricsFiles::MetricsFiles(const std::string& directory, int64_t done)
    : metrics_(
          directory + "/metrics.csv",
          "step,tokens,loss,grad_norm,lr,ms,tokens_per_s,mfu,memory_mib,loss_scale,skipped_steps",
          done),
      validation_(directory + "/validation.csv", "step,loss", done) {}

void MetricsFiles::add(const StepMetrics& m) {
    char row[240];
    std::snprintf(row, sizeof row, "%lld,%lld,%.9g,%.9g,%.9g,%.3f,%.1f,%.3f,%zu,%.9g,%d",
                  static_cast<long long>(m.step), static_cast<long long>(m.tokens), m.loss,
                  std::isnan(m.grad_norm) ? NAN : m.grad_norm, m.lr, m.seconds * 1e3,
                  m.tokens_per_second, m.mfu, m.memory >> 20, m.loss_scale.scale,
                  m.loss_scale.skipped);
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

namespace {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

// As setlocale would choose it.
bool is_utf8() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
        if (const std::string locale = environment(name); !locale.empty())
            return locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
    return false;
}

size_t window_width() {
    winsize window{};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 80;
}

std::string coloured(const std::string& text, int colour, bool colours) {
    return colours ? "\033[" + std::to_string(colour) + "m" + text + "\033[0m" : text;
}

constexpr int cyan = 36, red = 31;

}  // namespace

Progress::Progress(int64_t steps, bool quiet)
    : steps_(steps),
      quiet_(quiet),
      terminal_(isatty(STDOUT_FILENO) && environment("TERM") != "dumb"),
      utf8_(is_utf8()),
      colours_(terminal_ && environment("NO_COLOR").empty()) {}

// All there is to say where it fits, else what matters most; what is left of the line is the sparkline's.
std::string Progress::line_of(const StepMetrics& m, size_t width) const {
    const long left = std::lround(mean_seconds_ * static_cast<double>(steps_ - m.step));
    char start[80], loss[40], wide[160], narrow[120];
    std::snprintf(start, sizeof start, "step %lld/%lld  ", static_cast<long long>(m.step),
                  static_cast<long long>(steps_));
    std::snprintf(loss, sizeof loss, "loss %.4f", m.loss);
    std::snprintf(wide, sizeof wide,
                  "  grad norm %.2g  lr %.1e  %.0f ms  %.0f tokens/s  MFU %.0f %%  %ld:%02ld left",
                  m.grad_norm, m.lr, m.seconds * 1e3, m.tokens_per_second, 100 * m.mfu, left / 60,
                  left % 60);
    std::snprintf(narrow, sizeof narrow, "  grad norm %.2g  %.0f tokens/s  %ld:%02ld left",
                  m.grad_norm, m.tokens_per_second, left / 60, left % 60);
    const std::string head = start;
    if (!terminal_) return head + loss + wide;
    const size_t most = width - 1, taken = head.size() + std::string(loss).size();
    const std::string rest = taken + std::string(wide).size() <= most ? wide : narrow;
    if (taken + rest.size() > most) return (head + loss + rest).substr(0, most);
    const size_t room = std::min<size_t>(24, most - taken - rest.size());
    const std::string sparkline = utf8_ && room > 2 ? losses_.text(room - 2) : "";
    return head + (sparkline.empty() ? "" : coloured(sparkline, cyan, colours_) + "  ") +
           coloured(loss, red, colours_ && !std::isfinite(m.loss)) + rest;
}

void Progress::step(const StepMetrics& m) {
    // the time left from a mean that forgets, so that one slow step does not move it much
    mean_seconds_ = mean_seconds_ == 0 ? m.seconds : 0.9 * mean_seconds_ + 0.1 * m.seconds;
    losses_.add(m.loss);
    if (quiet_) return;
    // a line that wraps could not be written over
    const std::string text = line_of(m, terminal_ ? window_width() : 0);
    std::printf(terminal_ ? "\r\033[K%s" : "%s\n", text.c_str());
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
