#include "probe/growth.h"

#include <algorithm>
#include <cmath>

#include "check.h"

namespace peri {

namespace {

// y = a + b s at s = 1, 2, ...
struct Line {
    double a, b;
    double at(size_t s) const { return a + b * static_cast<double>(s); }
};

Line least_squares(const std::vector<double>& y) {
    const auto n = static_cast<double>(y.size());
    const double s_mean = (n + 1) / 2, s_squares = n * (n * n - 1) / 12;  // sum (s - s_mean)^2
    double y_mean = 0, products = 0;
    for (const double v : y) y_mean += v / n;
    for (size_t i = 0; i < y.size(); i++)
        products += (static_cast<double>(i + 1) - s_mean) * (y[i] - y_mean);
    const double b = products / s_squares;
    return {y_mean - b * s_mean, b};
}

}  // namespace

Growth growth(const std::vector<double>& variance) {
    CHECK(variance.size() >= 3);  // a layer has two sub-layers
    constexpr double lowest = 1e-6;
    std::vector<double> v, log_v;
    for (size_t s = 1; s < variance.size(); s++) {
        v.push_back(variance[s] / variance[1]);
        log_v.push_back(std::log(v.back()));
    }
    const Line linear = least_squares(v), exponential = least_squares(log_v);
    double linear_squares = 0, exponential_squares = 0;
    for (size_t i = 0; i < v.size(); i++) {
        const double fit = std::log(std::max(linear.at(i + 1), lowest));
        linear_squares += std::pow(fit - log_v[i], 2);
        exponential_squares += std::pow(exponential.at(i + 1) - log_v[i], 2);
    }
    const auto decades = [&](double squares) {
        return std::sqrt(squares / static_cast<double>(v.size())) / std::log(10);
    };
    return {linear.b, decades(linear_squares), exponential.b, decades(exponential_squares)};
}

}  // namespace peri
