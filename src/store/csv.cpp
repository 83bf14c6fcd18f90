#include "store/csv.h"

#include <sstream>

#include "open_file.h"
#include "store/files.h"

namespace peri {

std::vector<std::vector<std::string>> csv_rows(const std::string& path) {
    std::vector<std::vector<std::string>> rows;
    if (!is_there(path)) return rows;
    std::istringstream text(read_text(path));
    for (std::string line; std::getline(text, line) && !text.eof();) {  // eof: it was cut off
        std::istringstream cells(line + ",");
        rows.emplace_back();
        for (std::string cell; std::getline(cells, cell, ',');) rows.back().push_back(cell);
    }
    return rows;
}

}  // namespace peri
