#include "run/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "check.h"
#include "comm.h"
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
    const bool taken = flock(lock, LOCK_SH | LOCK_NB) != 0;
    close(lock);
    return taken;
}

RunDirectory::RunDirectory(const std::string& path, bool resuming, bool first) : path_(path) {
    if (!first) return;
    std::error_code error = make_directories_durably(path);
    if (error)
        throw UserError("--out " + path + ": cannot make this directory (" + error.message() +
                        "): choose another");
    if (!resuming && std::filesystem::exists(path + "/metrics.csv", error))
        throw UserError("--out " + path +
                        " already holds a run (metrics.csv): choose another directory, move it "
                        "away, or go on with it by --resume auto");
    lock_ = open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW,
                 0666);
    if (lock_ < 0)
        throw UserError("--out " + path + ": cannot write there (" + std::strerror(errno) +
                        "): choose another directory");
    if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
    close(lock_);
    throw UserError(
        "--out " + path +
        ": another process is training there: wait for it, or choose another directory");
}

RunDirectory::~RunDirectory() {
    if (lock_ >= 0) close(lock_);
}

template <class Real>
std::string resume(const std::string& which, const std::string& out, Model<Real>& model,
                   Optimizer<Real>& optimizer) {
    if (which != "auto") {
        load_checkpoint(which, model, optimizer);
        // going back in place would mix the checkpoints of two futures, and --keep the wrong ones
        const std::vector<SavedStep> saved = saved_steps(out);
        if (!saved.empty() && saved.front().step > optimizer.steps())
            throw UserError("--resume " + which + ": " + out + " holds a later checkpoint (" +
                            saved.front().path + "): choose another --out, or move it away");
        return which;
    }
    const std::vector<SavedStep> all = saved_steps(out);
    for (const SavedStep& saved : all) {
        try {
            load_checkpoint(saved.path, model, optimizer);
            return saved.path;
        } catch (const UserError& e) {
            std::fprintf(stderr, "passed over: %s\n", e.what());
        }
    }
    if (!all.empty())
        throw UserError("--resume auto: none of the checkpoints in " + out +
                        " can be used, for the reasons above: give the flags of their run, or "
                        "choose another --out");
    return "";
}

template std::string resume(const std::string&, const std::string&, Model<float>&,
                            Optimizer<float>&);
template std::string resume(const std::string&, const std::string&, Model<bf16>&, Optimizer<bf16>&);
template std::string resume(const std::string&, const std::string&, Model<fp16>&, Optimizer<fp16>&);

}  // namespace peri
