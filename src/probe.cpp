#include "probe.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace peri {

template <class T>
std::vector<double> hidden_variance(const Model<T>& model) {
    const int C = model.config().width;
    std::vector<double> profile;
    for (int s = 0; s <= model.sublayer_count(); s++) {
        const std::vector<double> x = model.hidden_state(s);
        const size_t rows = x.size() / C;
        double total = 0;
        for (size_t r = 0; r < rows; r++) {
            double mean = 0, variance = 0;
            for (int c = 0; c < C; c++) mean += x[r * C + c] / C;
            for (int c = 0; c < C; c++) variance += std::pow(x[r * C + c] - mean, 2) / C;
            total += variance;
        }
        profile.push_back(total / rows);
    }
    return profile;
}

std::string variance_chart(const std::vector<double>& before, const std::vector<double>& now) {
    double low = 1e300, high = 0;
    for (const auto* profile : {&before, &now})
        for (const double v : *profile)
            if (v > 0 && std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
    if (high == 0) low = high = 1;  // nothing to show
    const int first = static_cast<int>(std::floor(std::log10(low)));
    const int last = std::max(first + 1, static_cast<int>(std::ceil(std::log10(high))));
    constexpr int columns = 48;
    const auto column = [&](double v) {
        const double at = (std::log10(v) - first) / (last - first) * (columns - 1);
        return std::isfinite(at) ? std::clamp(static_cast<int>(std::lround(at)), 0, columns - 1)
                                 : 0;
    };
    char line[160];
    std::snprintf(line, sizeof line, "  sub-layer      start        now    1e%-4d%*s1e%d\n", first,
                  columns - 9, "", last);
    std::string chart = line;
    for (size_t s = 0; s < now.size(); s++) {
        std::string bar(columns, ' ');
        std::fill(bar.begin(), bar.begin() + column(now[s]) + 1, '=');
        bar[column(before[s])] = 'o';
        const char* const kind = s == 0 ? "embedding" : s % 2 ? "attention" : "mlp";
        std::snprintf(line, sizeof line, "%3zu %-9s %9.3g  %9.3g   |%s\n", s, kind, before[s],
                      now[s], bar.c_str());
        chart += line;
    }
    return chart + "  (o: at the start, =: now; logarithmic)\n";
}

template std::vector<double> hidden_variance(const Model<double>&);
template std::vector<double> hidden_variance(const Model<float>&);
template std::vector<double> hidden_variance(const Model<bf16>&);

}  // namespace peri
