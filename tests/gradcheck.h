// Backward against central differences of forward, in double.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "helpers.h"
#include "problem.h"

namespace peri {

// d output / d input_i for every entry of the output: central differences of steps h, h/2, h/4,
// extrapolated twice (Richardson), so that the error is of order h^6.
inline std::vector<double> derivative(Problem<double>& p, const std::string& input, size_t i) {
    constexpr double step = 0.005;
    constexpr int levels = 3;
    const std::vector<double> values = p.before(input);
    const auto outputs_at = [&](double value) {
        std::vector<double> moved = values;
        moved[i] = value;
        p.set(input, moved);
        return p.run(Stage::forward).values(p.projected());
    };
    std::vector<std::vector<double>> row;  // row[j]: extrapolated j times
    for (int level = 0; level < levels; level++) {
        const double up = values[i] + std::ldexp(step, -level);
        const double down = values[i] - std::ldexp(step, -level);
        std::vector<double> next = outputs_at(up);
        const std::vector<double> below = outputs_at(down);
        for (size_t o = 0; o < next.size(); o++) next[o] = (next[o] - below[o]) / (up - down);
        for (int j = 0; j < level; j++) {
            const double weight = std::ldexp(1, 2 * (j + 1));  // 4^(j+1)
            std::swap(row[j], next);
            for (size_t o = 0; o < next.size(); o++)
                next[o] = (weight * row[j][o] - next[o]) / (weight - 1);
        }
        row.push_back(next);
    }
    p.set(input, values);
    return row.back();
}

// All n entries, or as many as asked for, drawn at random.
inline std::vector<size_t> sample(size_t n, size_t most) {
    std::vector<size_t> result(std::min(n, most));
    Rng rng(n);
    for (size_t e = 0; e < result.size(); e++) result[e] = n <= most ? e : rng.below(n);
    return result;
}

// |a - n| <= 1e-8 max(largest |n| of the tensor, 1e-3 largest |dy|) for every gradient of the
// problem
inline std::string gradient_errors(Problem<double> p, size_t most_entries = 64) {
    p.run();
    const std::vector<double> dy = p.values("d" + p.projected());
    std::map<std::string, std::vector<double>> gradients;  // by input
    for (const Slot<double>& s : p.slots())
        if (s.gradient_of != "") gradients[s.gradient_of] = p.values(s.name);
    const Threads one(1);  // thousands of calls too small to share
    std::string errors;
    for (const auto& [input, analytic] : gradients) {
        std::vector<double> a, n;
        for (const size_t i : sample(analytic.size(), most_entries)) {
            const std::vector<double> column = derivative(p, input, i);
            a.push_back(analytic[i]);
            n.push_back(0);
            for (size_t o = 0; o < column.size(); o++) n.back() += dy[o] * column[o];
        }
        const double tolerance = 1e-8 * std::max(largest(n), 1e-3 * largest(dy));
        const std::string wrong = difference(a, n, tolerance);
        if (wrong != "") errors += p.title + " d" + input + " " + wrong + "\n";
    }
    return errors + p.errors();
}

}  // namespace peri
