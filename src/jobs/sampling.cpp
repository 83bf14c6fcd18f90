#include "jobs/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "check.h"

namespace peri {

std::vector<double> next_token_probabilities(const std::vector<double>& logits,
                                             const Sampling& sampling) {
    CHECK(!logits.empty());
    if (!std::ranges::all_of(logits, [](double z) { return std::isfinite(z); }))
        throw UserError(
            "the model's logits are not finite: its weights have diverged; choose an earlier "
            "checkpoint");
    std::vector<int> tokens(logits.size());
    std::iota(tokens.begin(), tokens.end(), 0);
    std::ranges::sort(tokens, {}, [&](int v) { return std::pair(-logits[v], v); });
    if (sampling.temperature == 0) tokens.resize(1);
    if (sampling.top_k) tokens.resize(std::min(tokens.size(), size_t(sampling.top_k)));

    std::vector<double> p(logits.size(), 0);
    const double highest = logits[tokens[0]];
    double sum = 0;
    for (const int v : tokens)
        sum += p[v] = v == tokens[0] ? 1 : std::exp((logits[v] - highest) / sampling.temperature);

    double kept = 0;  // with top_p = 1 all: both sums have the same order
    for (const int v : tokens) {
        if (kept > 0 && kept >= sampling.top_p * sum) p[v] = 0;
        kept += p[v];
    }
    for (double& probability : p) probability /= kept;
    return p;
}

int draw(const std::vector<double>& p, Rng& rng) {
    double left = rng.uniform();
    int last = 0;  // the last possible token, should the sum of p be a rounding short of 1
    for (int v = 0; v < static_cast<int>(p.size()); v++) {
        if (p[v] == 0) continue;
        last = v;
        left -= p[v];
        if (left < 0) break;
    }
    return last;
}

}  // namespace peri
