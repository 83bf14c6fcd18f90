#include "store/step_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>
#include <utility>

#include "check.h"
#include "open_file.h"
#include "store/files.h"
#include "store/saved.h"

namespace peri {

double as_written(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", x);
    return std::strtod(text, nullptr);
}

std::ofstream open_new_file(const std::string& directory, const std::string& name) {
    const std::string path = directory + "/" + name;
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error)
        throw UserError("--out " + directory + ": cannot make this directory (" + error.message() +
                        "): choose another");
    if (std::filesystem::exists(std::filesystem::symlink_status(path, error)))
        throw UserError("--out " + directory + " already holds a run (" + name +
                        "): choose another directory or move it away");
    std::ofstream file(path);
    if (!file)
        throw UserError("--out " + directory + ": cannot write " + name + " there: choose another");
    return file;
}

// ---- what was written before ---------------------------------------------------------------------

namespace {

const char* const rows_name = "rows.txt";

struct Written {
    size_t bytes;
    uint32_t checksum;
};

// What the checkpoint at step `done` knows of a file beside it.
std::optional<Written> written_before(const std::filesystem::path& file, int64_t done) {
    const std::string rows = (file.parent_path() / step_name(done) / rows_name).string();
    if (done <= 0 || !is_surely_there(rows)) return {};
    std::istringstream lines(read_text(rows, short_text));
    std::string name;
    for (Written w{}; lines >> name >> w.bytes >> std::hex >> w.checksum >> std::dec;)
        if (name == file.filename()) return w;
    return {};
}

bool is_row(const std::string& line, const std::string& header, int64_t& step) {
    if (std::ranges::count(line, ',') != std::ranges::count(header, ',')) return false;
    const size_t digits = std::min(line.find(','), line.size());
    if (digits == 0 || digits > 18 || line.find_first_not_of("0123456789") < digits) return false;
    const int64_t before = std::exchange(step, std::atoll(line.c_str()));
    return before <= step;
}

// The lines that end, without the header.
std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1)
        if (begin > 0) lines.push_back(text.substr(begin, end - begin));
    return lines;
}

// What is wrong with the rows up to step `done`; "" where they are sound. Later ones may be anything: the
// disk may have had half of them when power failed, and the run writes them again.
std::string damage(const std::string& text, const std::string& header,
                   const std::optional<Written>& written, int64_t done) {
    if (written && text.size() < written->bytes) return "is shorter than it was";
    if (written && checksum(text.substr(0, written->bytes)) != written->checksum)
        return "is not what this run wrote";
    if (written || done <= 0) return "";
    int64_t step = 0;
    for (const std::string& line : lines_of(text)) {
        if (!is_row(line, header, step)) return "has no proper row '" + line.substr(0, 40) + "'";
        if (step > done) break;
    }
    return "";
}

}  // namespace

// ---- the file -----------------------------------------------------------------------------------

StepFile::StepFile(const std::string& path, const std::string& header, int64_t done) : path_(path) {
    const std::string found = is_surely_there(path) ? read_text(path) : "";
    std::string text = found;
    std::erase(text, '\r');
    const std::optional<Written> written = written_before(path, done);
    const std::string first = text.substr(0, text.find('\n'));
    // an earlier version had fewer columns: its rows leave the last ones empty
    const std::string known = header.starts_with(first + ",") ? first : header;
    const std::string empty(std::ranges::count(header, ',') - std::ranges::count(known, ','), ',');
    if (!text.empty() && !written && first != known)
        throw UserError(path + ": is no file of this program (it begins '" + first.substr(0, 40) +
                        "'): move it away");
    if (const std::string wrong = damage(text, known, written, done); !wrong.empty()) {
        const bool gone = !is_there(path);
        const std::string kept = gone ? "" : "; it is kept as " + set_aside(path, "damaged");
        std::fprintf(stderr, "warning: %s %s%s: the run goes on without its earlier rows\n",
                     path.c_str(), gone ? "is gone" : one_line(wrong).c_str(), kept.c_str());
        text.clear();
    }
    if (done <= 0 && !lines_of(text).empty()) {
        std::fprintf(stderr,
                     "warning: %s: no checkpoint goes with its rows: it is kept as %s, and the run "
                     "begins anew\n",
                     path.c_str(), set_aside(path, "earlier").c_str());
        text.clear();
    }
    std::string keep = header + "\n";
    int64_t step = 0;
    for (const std::string& row : lines_of(text)) {
        if (!is_row(row, known, step) || step > done) break;
        kept_.push_back(row + empty);
        keep += row + empty + "\n";
    }
    if (keep != found) save_durably(path, keep);
    bytes_ = keep.size();
    checksum_ = checksum(keep);
    file_ = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (file_ < 0)
        throw UserError(path + ": cannot be written (" +
                        (errno == ELOOP ? "a link, which may lead out of the run's directory"
                                        : std::strerror(errno)) +
                        "): move it away, or choose another --out");
}

StepFile::~StepFile() {
    if (file_ >= 0) close(file_);
}

void StepFile::add(const std::string& rows) {
    const std::string text = rows + '\n';
    for (size_t done = 0; done < text.size();) {
        const ssize_t n = write(file_, text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            throw UserError(path_ + ": cannot be written (" + std::strerror(errno) +
                            "): free some space, and go on by --resume auto");
        done += static_cast<size_t>(n);
    }
    bytes_ += text.size();
    checksum_ = checksum(text, checksum_);
}

std::string StepFile::synced() {
    if (flush_to_disk(file_) != 0)
        throw UserError(path_ + ": cannot be flushed to the disk (" + std::strerror(errno) + ")");
    char line[160];
    std::snprintf(line, sizeof line, "%s %zu %08x\n",
                  std::filesystem::path(path_).filename().c_str(), bytes_, checksum_);
    return line;
}

}  // namespace peri
