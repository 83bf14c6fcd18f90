// The paper's measurements.
#pragma once

#include <string>
#include <vector>

#include "model.h"

namespace peri {

// Variance of the hidden state (Figures 1, 6): of each token over the width, then the mean over the
// tokens of the batch that forward has run on. Entry 0 is what enters the first sub-layer, entry s
// what leaves sub-layer s.
template <class T>
std::vector<double> hidden_variance(const Model<T>& model);

// The two profiles as a text chart on a logarithmic axis, a line a sub-layer.
std::string variance_chart(const std::vector<double>& before, const std::vector<double>& now);

}  // namespace peri
