// Runs ./train as a user does, for the tests of the program. Its path is in the environment variable
// TRAIN (default ./train).
#pragma once

#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "catch.h"
#include "helpers.h"

namespace peri {

namespace fs = std::filesystem;

struct Result {
    int code;
    std::string out, err;
};

inline std::string read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline Result train(const TemporaryDirectory& folder, const std::string& flags,
                    const std::string& environment = "") {
    const char* const program = std::getenv("TRAIN");
    const std::string cache = " XDG_CACHE_HOME=" + folder / "cache";
    const std::string command = environment + cache + " " + (program ? program : "./train") + " " +
                                flags + " > " + folder / "out" + " 2> " + folder / "err";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read(folder / "out"),
            read(folder / "err")};
}

// NAN where none was printed
inline double final_loss(const Result& r) {
    const std::string title = "final val loss ";
    const size_t last = r.out.rfind(title);
    return last == std::string::npos ? NAN : std::stod(r.out.substr(last + title.size()));
}

// The number that follows the first `title`; NAN where there is none.
inline double number_after(const std::string& text, const std::string& title) {
    const size_t at = text.find(title);
    return at == std::string::npos ? NAN : std::strtod(text.c_str() + at + title.size(), nullptr);
}

// Where `text` has its nth `c`; n counts from 1.
inline size_t nth(const std::string& text, char c, int n) {
    size_t at = text.find(c);
    while (--n > 0 && at != std::string::npos) at = text.find(c, at + 1);
    return at;
}

// The rows of a run's metrics.csv without the columns that tell time and memory.
inline std::vector<std::string> timeless_metrics(const std::string& run) {
    std::istringstream rows(read(run + "/metrics.csv"));
    std::vector<std::string> timeless;
    for (std::string row; std::getline(rows, row);)
        timeless.push_back(row.substr(0, nth(row, ',', 5)));
    return timeless;
}

// A column of a run's metrics.csv.
inline std::vector<double> metric(const std::string& run, const std::string& name) {
    std::istringstream rows(read(run + "/metrics.csv"));
    std::string row;
    std::getline(rows, row);
    const size_t at = ("," + row + ",").find("," + name + ",");
    const auto column = std::count(row.begin(), row.begin() + static_cast<long>(at), ',');
    std::vector<double> values;
    while (std::getline(rows, row)) {
        const size_t begin = column ? nth(row, ',', static_cast<int>(column)) + 1 : 0;
        values.push_back(std::strtod(row.c_str() + begin, nullptr));
    }
    return values;
}

inline const std::string quick = " --size tiny --batch 3 --steps 4 --val-batches 2 --threads 1 ";

}  // namespace peri
