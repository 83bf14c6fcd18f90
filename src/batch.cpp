#include "batch.h"

#include <algorithm>

#include "check.h"

namespace peri {

Batch slice(const Batch& batch, int first, int count) {
    CHECK(first >= 0 && count >= 1 && first + count <= batch.B);
    const auto part = [&](const std::vector<int>& all) {
        const auto begin = all.begin() + size_t(first) * batch.T;
        return std::vector<int>(begin, begin + size_t(count) * batch.T);
    };
    return {count, batch.T, part(batch.tokens), part(batch.targets)};
}

int64_t target_count(const Batch& batch) {
    return std::ranges::count_if(batch.targets, [](int target) { return target >= 0; });
}

}  // namespace peri
