#include "data/data.h"

#include "check.h"
#include "data/corpus.h"
#include "data/samples.h"
#include "data/stories.h"

namespace peri {

std::unique_ptr<Data> open_data(const std::string& path, const std::string& val_path, int T,
                                Draw draw) {
    if (T < 1) {
        throw UserError("--seq " + std::to_string(T) + " is too small; give at least 1");
    }
    const auto has_samples_name = [](const std::string& name) { return name.ends_with(".jsonl"); };
    if (!path.empty() && !val_path.empty() &&
        has_samples_name(path) != has_samples_name(val_path)) {
        throw UserError("--val-data '" + val_path + "' and --data '" + path +
                        "' are not of one kind; give samples (.jsonl) for both or for neither");
    }
    if (draw == Draw::once && (path.empty() || has_samples_name(path)))
        throw UserError(
            "--draw once is for a text or token shards: the stories never come twice, and "
            "samples come once an epoch anyway; leave it out");
    if (has_samples_name(path)) return open_samples(path, val_path, T);
    if (!path.empty()) return open_corpus(path, val_path, T, draw);
    if (!val_path.empty()) {
        throw UserError("--val-data '" + val_path +
                        "' does not go with the built-in stories, which hold out their own; give "
                        "--data too");
    }
    return open_stories();
}

}  // namespace peri
