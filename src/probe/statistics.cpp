#include "probe/statistics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "check.h"

namespace peri {

namespace {

double dot(const double* x, const double* y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

double mean(const double* x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum / static_cast<double>(n);
}

// mean (x - mean x) (y - mean y)
double covariance(const double* x, const double* y, size_t n) {
    const double x_mean = mean(x, n), y_mean = mean(y, n);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (x[i] - x_mean) * (y[i] - y_mean);
    return sum / static_cast<double>(n);
}

// The mean of f(r C) over the rows r; r C is where row r begins.
template <class F>
double mean_over_rows(const std::vector<double>& x, int C, F&& f) {
    double sum = 0;
    for (size_t begin = 0; begin < x.size(); begin += C) sum += f(begin);
    return sum / static_cast<double>(x.size() / C);
}

}  // namespace

double norm(const std::vector<double>& x) { return std::sqrt(dot(x.data(), x.data(), x.size())); }

double mean(const std::vector<double>& x) { return mean(x.data(), x.size()); }

double mean_abs(const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += std::abs(v);
    return sum / static_cast<double>(x.size());
}

double smallest(const std::vector<double>& x) {
    double result = x[0];
    for (const double v : x) {
        if (std::isnan(v)) return v;
        result = std::min(result, v);
    }
    return result;
}

double largest_abs(const std::vector<double>& x) {
    double result = 0;
    for (const double v : x) {
        if (std::isnan(v)) return v;
        result = std::max(result, std::abs(v));
    }
    return result;
}

double variance(const std::vector<double>& x) { return covariance(x.data(), x.data(), x.size()); }

std::vector<double> row_norms(const std::vector<double>& x, int C) {
    std::vector<double> norms;
    for (size_t begin = 0; begin < x.size(); begin += C)
        norms.push_back(std::sqrt(dot(&x[begin], &x[begin], C)));
    return norms;
}

double token_covariance(const std::vector<double>& x, const std::vector<double>& y, int C) {
    CHECK(x.size() == y.size());
    return mean_over_rows(x, C, [&](size_t begin) { return covariance(&x[begin], &y[begin], C); });
}

double token_variance(const std::vector<double>& x, int C) { return token_covariance(x, x, C); }

double angular_distance(const std::vector<double>& x, const std::vector<double>& y, int C) {
    CHECK(x.size() == y.size());
    return mean_over_rows(x, C, [&](size_t begin) {
        const double *const u = &x[begin], *const v = &y[begin];
        const double cosine = dot(u, v, C) / std::sqrt(dot(u, u, C)) / std::sqrt(dot(v, v, C));
        return std::acos(std::clamp(cosine, -1.0, 1.0)) / std::numbers::pi;  // rounding: |cos| > 1
    });
}

namespace {

bool larger(const Largest::Entry& a, const Largest::Entry& b) {
    return std::isnan(a.size) ? !std::isnan(b.size) : a.size > b.size;
}

}  // namespace

void Largest::add(const std::vector<double>& x, int state) {
    for (const double v : x) {
        const Entry entry = {std::abs(v), state};
        if (heap_.size() == most_) {
            if (!larger(entry, heap_.front())) continue;
            std::pop_heap(heap_.begin(), heap_.end(), larger);
            heap_.pop_back();
        }
        heap_.push_back(entry);
        std::push_heap(heap_.begin(), heap_.end(), larger);
    }
}

std::vector<Largest::Entry> Largest::sorted() const {
    std::vector<Entry> list = heap_;
    std::sort(list.begin(), list.end(), [](const Entry& a, const Entry& b) {
        return larger(a, b) || (!larger(b, a) && a.state < b.state);
    });
    return list;
}

size_t beyond_fp16(const std::vector<double>& x) {
    constexpr double fp16_largest = 65504;
    return std::count_if(x.begin(), x.end(),
                         [](double v) { return !(std::abs(v) <= fp16_largest); });
}

size_t not_finite(const std::vector<double>& x) {
    return std::count_if(x.begin(), x.end(), [](double v) { return !std::isfinite(v); });
}

std::vector<double> column_squares(const std::vector<double>& x, int C) {
    std::vector<double> m(C);
    for (size_t i = 0; i < x.size(); i++) m[i % C] += x[i] * x[i];
    for (double& v : m) v /= static_cast<double>(x.size() / C);
    return m;
}

double share_of_largest(std::vector<double> numbers, size_t most) {
    const double all = mean(numbers) * static_cast<double>(numbers.size());
    if (std::isnan(all)) return NAN;  // which has no place in an order
    std::ranges::sort(numbers, std::greater<>());
    return std::accumulate(numbers.begin(), numbers.begin() + most, 0.0) / all;
}

double kurtosis(const std::vector<double>& m) {
    double squares = 0;
    for (const double v : m) squares += v * v;
    return squares / static_cast<double>(m.size()) / (mean(m) * mean(m));
}

}  // namespace peri
