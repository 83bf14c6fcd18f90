#include "generate.h"

#include <algorithm>
#include <cmath>

namespace peri {

namespace {

int draw(const std::vector<double>& logits, double temperature, Rng& rng) {
    const auto most = std::max_element(logits.begin(), logits.end());
    if (temperature == 0) return static_cast<int>(most - logits.begin());
    double sum = 0;
    for (const double z : logits) sum += std::exp((z - *most) / temperature);
    double left = rng.uniform() * sum;
    for (size_t v = 0; v < logits.size(); v++) {
        left -= std::exp((logits[v] - *most) / temperature);
        if (left < 0) return static_cast<int>(v);
    }
    return static_cast<int>(logits.size()) - 1;
}

}  // namespace

template <class T>
std::vector<int> generate(Model<T>& model, std::vector<int> tokens, int n, double temperature,
                          int context, Rng rng) {
    for (int i = 0; i < n; i++) {
        const int length = std::min(context, static_cast<int>(tokens.size()));
        Batch batch;
        batch.B = 1;
        batch.T = length;
        batch.tokens.assign(tokens.end() - length, tokens.end());
        batch.labels.assign(length, -1);
        model.load(batch);
        model.forward();
        tokens.push_back(draw(model.next_token_logits(), temperature, rng));
    }
    return tokens;
}

template std::vector<int> generate(Model<double>&, std::vector<int>, int, double, int, Rng);
template std::vector<int> generate(Model<float>&, std::vector<int>, int, double, int, Rng);
template std::vector<int> generate(Model<bf16>&, std::vector<int>, int, double, int, Rng);

}  // namespace peri
