#include "store/step_file.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "check.h"
#include "store/files.h"

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
    if (std::filesystem::exists(path, error))
        throw UserError("--out " + directory + " already holds a run (" + name +
                        "): choose another directory or move it away");
    std::ofstream file(path);
    if (!file)
        throw UserError("--out " + directory + ": cannot write " + name + " there: choose another");
    return file;
}

StepFile::StepFile(const std::string& path, const std::string& header, int64_t done) : path_(path) {
    std::string all, keep = header + "\n";
    if (std::filesystem::exists(path)) all = read_text(path);
    for (size_t begin = 0, end; (end = all.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
        const std::string row = all.substr(begin, end - begin);
        if (begin == 0 && row != header)
            throw UserError(path + ": is no file of this program (it begins '" + row.substr(0, 40) +
                            "'): move it away");
        if (begin == 0 || std::atoll(row.c_str()) > done) continue;
        kept_.push_back(row);
        keep += row + "\n";
    }
    if (keep != all) save_durably(path, keep);
    file_.open(path, std::ios::app);
    if (!file_) throw UserError(path + ": cannot be written: choose another --out");
}

void StepFile::add(const std::string& rows) {
    file_ << rows << '\n' << std::flush;
    if (!file_) throw UserError(path_ + ": cannot be written (is the disk full?): free some space");
}

}  // namespace peri
