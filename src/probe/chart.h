// The hidden state's variance at the start and now, for the eye and as a table.
#pragma once

#include <string>
#include <vector>

namespace peri {

// The two profiles as a text chart on a logarithmic axis, a line a sub-layer.
std::string variance_chart(const std::vector<double>& before, const std::vector<double>& now);

// The same as CSV.
std::string variance_table(const std::vector<double>& before, const std::vector<double>& now);

}  // namespace peri
