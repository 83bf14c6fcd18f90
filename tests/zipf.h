// Tokens as text has them: the k-th most frequent comes about 1 / k as often as the first (Zipf's law).
#pragma once

#include <algorithm>
#include <cmath>

#include "random.h"

namespace peri {

// 0 .. V-1, of density log((k + 2) / (k + 1)) / log(V + 1)
inline int zipf(Rng& rng, int V) {
    return std::min(V - 1, static_cast<int>(std::pow(V + 1.0, rng.uniform())) - 1);
}

}  // namespace peri
