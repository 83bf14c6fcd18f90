#include "probe/chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

namespace peri {

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
        if (!std::isnan(before[s])) bar[column(before[s])] = 'o';
        const char* const kind = s == 0 ? "embedding" : s % 2 ? "attention" : "mlp";
        std::snprintf(line, sizeof line, "%3zu %-9s %9.3g  %9.3g   |%s\n", s, kind, before[s],
                      now[s], bar.c_str());
        chart += line;
    }
    return chart + "  (o: at the start, =: now; logarithmic)\n";
}

std::string variance_table(const std::vector<double>& before, const std::vector<double>& now) {
    std::ostringstream csv;
    csv << "sublayer,start,end\n";
    for (size_t s = 0; s < now.size(); s++) csv << s << ',' << before[s] << ',' << now[s] << '\n';
    return csv.str();
}

}  // namespace peri
