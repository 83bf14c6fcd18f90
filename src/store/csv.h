// A run's CSV files as tables, also while they are being written.
#pragma once

#include <string>
#include <vector>

namespace peri {

// The header and the rows, cell by cell; none where the file is not there yet. A last line that was cut
// off is left out. Throws UserError where the file cannot be read.
std::vector<std::vector<std::string>> csv_rows(const std::string& path);

}  // namespace peri
