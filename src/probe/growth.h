// Does the hidden state's variance grow linearly with depth, as Eq. 4 has it, or exponentially
// (Sections 3.2, 5.1)?
#pragma once

#include <vector>

namespace peri {

// Least squares over the sub-layers s = 1 .. S of v_s = variance_s / variance_1:
//   linear   v = a + slope s        exponential   log v = a + rate s
// Both errors are the root mean square of log10(fit_s) - log10(v_s), decades, so that they compare.
// A line may go below 0, where no logarithm is: there the fit counts as 10^-6.
struct Growth {
    double linear_slope, linear_error;
    double exponential_rate, exponential_error;
};

// variance: entries s = 0 .. S; entry 0, what enters the first sub-layer, is not used. Where an entry is
// not a positive number the errors are not finite, and neither need the others be.
Growth growth(const std::vector<double>& variance);

}  // namespace peri
