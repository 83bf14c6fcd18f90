#include "store/saved.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "check.h"
#include "open_file.h"
#include "store/safetensors.h"

namespace peri {

namespace {

const std::string step_prefix = "step-", best_prefix = "best-";

std::string numbered(const std::string& prefix, int64_t step) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%08lld", static_cast<long long>(step));
    return prefix + digits;
}

std::vector<SavedStep> find(const std::string& out, const std::string& prefix) {
    std::vector<SavedStep> found;
    // std::filesystem's iterator ends the program where memory does (noexcept)
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(out.c_str()), closedir);
    if (!directory && (errno == ENOENT || errno == ENOTDIR)) return found;
    while (directory) {
        errno = 0;
        const dirent* const entry = readdir(directory.get());
        if (!entry) break;
        const std::string name = entry->d_name;
        if (!name.starts_with(prefix)) continue;
        const int64_t step = std::atoll(name.c_str() + prefix.size());
        if (step >= 0 && name == numbered(prefix, step))
            found.push_back({step, out + (out.ends_with('/') ? "" : "/") + name});
    }
    // what cannot be listed is not empty: a run would begin anew
    if (errno) throw UserError(out + ": cannot be listed (" + std::strerror(errno) + ")");
    std::sort(found.begin(), found.end(),
              [](const SavedStep& a, const SavedStep& b) { return a.step > b.step; });
    return found;
}

}  // namespace

std::vector<SavedStep> saved_steps(const std::string& out) { return find(out, step_prefix); }
std::vector<SavedStep> saved_bests(const std::string& out) { return find(out, best_prefix); }

std::string step_name(int64_t step) { return numbered(step_prefix, step); }
std::string best_name(int64_t step) { return numbered(best_prefix, step); }

void check_whole(const std::string& path) {
    const SafetensorsFile file(path);
    if (!file.has_checksums()) throw UserError(path + ": has no checksums");
    for (const TensorInfo& tensor : file.tensors()) file.check(tensor);
}

bool is_whole(const std::string& path) {
    try {
        check_whole(path);
        return true;
    } catch (const UserError&) {
        return false;
    }
}

std::string weights_of(const std::string& path) {
    if (!is_directory(path) || is_there(path + "/model.safetensors")) return path;
    for (const SavedStep& saved : saved_steps(path)) {
        try {
            check_whole(saved.path + "/model.safetensors");
            return saved.path;
        } catch (const UserError& e) {
            std::fprintf(stderr, "passed over: %s\n", e.what());
        }
    }
    const std::vector<SavedStep> bests = saved_bests(path);
    throw UserError("--init-from " + path + ": there is no whole checkpoint in this directory: " +
                    (bests.empty() ? "name another run's, or a safetensors file"
                                   : "name its best weights, " + bests[0].path));
}

}  // namespace peri
