// Statistics of hidden states and gradients, in double. A state x is (R,C), a row a token. A NaN
// among the numbers is a NaN in what is made of them.
#pragma once

#include <cstddef>
#include <vector>

namespace peri {

double norm(const std::vector<double>& x);  // sqrt(sum x^2)
double mean(const std::vector<double>& x);
double mean_abs(const std::vector<double>& x);
double smallest(const std::vector<double>& x);
double largest_abs(const std::vector<double>& x);
double variance(const std::vector<double>& x);  // of all its numbers: mean (x - mean x)^2

// |x_r| of each row
std::vector<double> row_norms(const std::vector<double>& x, int C);

// Covariance of x and y (R,C) over the width of each token, then the mean over tokens.
double token_covariance(const std::vector<double>& x, const std::vector<double>& y, int C);
double token_variance(const std::vector<double>& x, int C);  // the same of x with itself

// arccos(cos(x_r, y_r)) / pi, the mean over tokens: 0 the same direction, 1/2 none in common, 1 the
// opposite. NaN where a token is 0.
double angular_distance(const std::vector<double>& x, const std::vector<double>& y, int C);

// The largest |x| of many states, and in which state each was.
class Largest {
  public:
    struct Entry {
        double size;  // a NaN counts as larger than any number
        int state;
    };
    explicit Largest(size_t most) : most_(most) {}

    void add(const std::vector<double>& x, int state);
    std::vector<Entry> sorted() const;  // largest first

  private:
    size_t most_;
    std::vector<Entry> heap_;  // at most `most_`, the smallest of them in front
};

// How many numbers fp16 cannot hold: |x| > 65504, or no number at all; and of the latter alone, NaN and infinity.
size_t beyond_fp16(const std::vector<double>& x);
size_t not_finite(const std::vector<double>& x);

// Channels that stand out. The mean of x^2 of each column (C); the share of the `most` largest in a sum of numbers
// of 0 and more; mean m^2 / (mean m)^2. NaN where all are 0.
std::vector<double> column_squares(const std::vector<double>& x, int C);
double share_of_largest(std::vector<double> numbers, size_t most);
double kurtosis(const std::vector<double>& m);

}  // namespace peri
