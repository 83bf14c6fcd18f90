#include "run/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "comm.h"
#include "open_file.h"
#include "store/files.h"

namespace peri {

std::string default_directory(const std::string& norm) {
    if (comm::rank() > 0) return "";
    char date[32];
    const std::time_t now = std::time(nullptr);
    std::strftime(date, sizeof date, "%Y-%m-%d-%H%M%S", std::localtime(&now));
    const std::string first = std::string("runs/") + date + "-" + norm;
    std::string path = first;
    make_directories_durably("runs");
    std::error_code error;  // then RunDirectory says what is wrong there
    for (int i = 2; !std::filesystem::create_directory(path, error) && !error; i++)
        path = first + "-" + std::to_string(i);
    if (!error) sync_directory("runs");
    return path;
}

bool is_training(const std::string& path) {
    const int lock = open((path + "/lock").c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (lock < 0) return false;
    const bool taken = flock(lock, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(lock);
    return taken;
}

namespace {

// What shows that there is a run, or has been; "" where there is nothing.
std::string part_of_run(const std::string& path) {
    if (is_there(path + "/metrics.csv")) return "metrics.csv";
    for (const auto& saved : {saved_steps(path), saved_bests(path)})
        if (!saved.empty()) return std::filesystem::path(saved.front().path).filename();
    return "";
}

}  // namespace

RunDirectory::RunDirectory(const std::string& path, bool resuming, bool first) : path_(path) {
    if (!first) return;
    std::error_code error = make_directories_durably(path);
    if (error)
        throw UserError("--out " + path + ": cannot make this directory (" + error.message() +
                        "): choose another");
    if (const std::string found = resuming ? "" : part_of_run(path); !found.empty())
        throw UserError("--out " + path + " already holds a run (" + found +
                        "): choose another directory, move it away, or go on with it by --resume "
                        "auto");
    lock_ = open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW,
                 0666);
    if (lock_ < 0)
        throw UserError("--out " + path + ": cannot write there (" + std::strerror(errno) +
                        "): choose another directory");
    if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
    const int why = errno;
    close(lock_);
    throw UserError("--out " + path +
                    (why == EWOULDBLOCK
                         ? ": another process is training there: wait for it, or choose another "
                           "directory"
                         : std::string(": cannot be locked (") + std::strerror(why) +
                               "): choose a directory on another file system"));
}

RunDirectory::~RunDirectory() {
    if (lock_ >= 0) close(lock_);
}

namespace {

// What `out` has of another run than the one that goes on there after step `done`: a fork that was begun before has
// later rows and weights alone.
std::string part_of_another(const std::string& out, int64_t done) {
    std::ifstream rows(out + "/metrics.csv");
    std::string line;
    if (std::getline(rows, line) && std::getline(rows, line) && std::atoll(line.c_str()) <= done)
        return "metrics.csv";
    for (const auto& all : {saved_steps(out), saved_bests(out)})
        if (!all.empty() && all.back().step <= done)
            return std::filesystem::path(all.back().path).filename();
    return "";
}

// Whether a checkpoint lies in `out`, by its name or where links lead.
bool lies_in(const std::string& checkpoint, const std::string& out) {
    std::error_code a, b;
    return std::filesystem::equivalent(directory_above(checkpoint), out, a) ||
           std::filesystem::equivalent(checkpoint + "/..", out, b);
}

template <class Real>
void resume_named(const std::string& which, const std::string& out, Model<Real>& model,
                  Optimizer<Real>& optimizer) {
    load_checkpoint(which, model, optimizer);
    const std::string other = lies_in(which, out) ? "" : part_of_another(out, optimizer.steps());
    if (!other.empty())
        throw UserError("--resume " + which + ": --out " + out + " holds another run (" + other +
                        "): choose a new --out, or move it away");
    // going back in place would mix the checkpoints of two futures, and --keep the wrong ones
    const std::vector<SavedStep> saved = saved_steps(out);
    if (!saved.empty() && saved.front().step > optimizer.steps())
        throw UserError("--resume " + which + ": " + out + " holds a later checkpoint (" +
                        saved.front().path + "): go on from it by --resume auto --out " + out +
                        ", choose another --out, or move it away");
}

}  // namespace

template <class Real>
std::string resume(const std::string& which, const std::string& out, Model<Real>& model,
                   Optimizer<Real>& optimizer) {
    if (which != "auto") {
        resume_named(which, out, model, optimizer);
        return which;
    }
    // Each process reads a part of the optimizer's state: all take one that all of them find whole.
    const std::vector<SavedStep> all = saved_steps(out);
    for (size_t i = 0;; i++) {
        const std::string path = comm::from_first(i < all.size() ? all[i].path : "");
        if (path.empty() && i == 0) return "";
        if (path.empty())
            throw UserError("--resume auto: none of the checkpoints in " + out +
                            " can be used, for the reasons above: give the flags of their run, or "
                            "choose another --out");
        bool whole = true;
        try {
            load_checkpoint(path, model, optimizer);
        } catch (const UserError& e) {
            std::fprintf(stderr, "passed over: %s\n", e.what());
            whole = false;
        }
        if (comm::largest(!whole) > 0) continue;
        // those that were passed over shall take no good one's place with --keep
        for (size_t k = 0; k < i && comm::rank() == 0; k++)
            std::fprintf(stderr, "kept as     %s\n", set_aside(all[k].path, "damaged").c_str());
        return path;
    }
}

template std::string resume(const std::string&, const std::string&, Model<float>&,
                            Optimizer<float>&);
template std::string resume(const std::string&, const std::string&, Model<bf16>&, Optimizer<bf16>&);
template std::string resume(const std::string&, const std::string&, Model<fp16>&, Optimizer<fp16>&);

}  // namespace peri
