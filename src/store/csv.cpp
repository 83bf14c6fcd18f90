#include "store/csv.h"

#include <filesystem>
#include <sstream>

#include "store/files.h"

namespace peri {

std::vector<std::vector<std::string>> csv_rows(const std::string& path) {
    std::vector<std::vector<std::string>> rows;
    if (!std::filesystem::exists(path)) return rows;
    std::istringstream text(read_text(path));
    for (std::string line; std::getline(text, line) && !text.eof();) {  // eof: it was cut off
        std::istringstream cells(line + ",");
        rows.emplace_back();
        for (std::string cell; std::getline(cells, cell, ',');) rows.back().push_back(cell);
    }
    return rows;
}

}  // namespace peri
