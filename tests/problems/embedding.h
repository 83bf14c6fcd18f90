#pragma once

#include <numeric>

#include "problem.h"

namespace peri {

struct EmbeddingShape {
    int R, C, V;
};

inline std::vector<int> tokens_of(EmbeddingShape s, uint64_t seed) {
    Rng rng(seed, 99);
    std::vector<int> tokens(s.R);
    for (int& token : tokens) token = static_cast<int>(rng.below(s.V));
    return tokens;
}

inline std::vector<int> sorted_rows(const std::vector<int>& tokens) {
    std::vector<int> order(tokens.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, {}, [&](int i) { return std::pair(tokens[i], i); });
    return order;
}

template <class Real>
Problem<Real> embedding(EmbeddingShape s, const std::vector<int>& token_list, uint64_t seed) {
    Problem<Real> p("embedding", {s.R, s.C, s.V}, seed);
    Real* const table = p.input("table", size_t(s.V) * s.C);
    const int* const tokens = p.integers("tokens", token_list);
    const int* const order = p.integers("order", sorted_rows(token_list));
    Real* const y = p.output("y", size_t(s.R) * s.C, 1);
    Real* const dy = p.upstream("y");
    Accum<Real>* const dtable = p.accumulated_gradient("table", s.R);
    p.forward = [=] { embedding_forward<Real>(y, table, tokens, s.R, s.C); };
    p.backward = [=] { embedding_backward<Real>(dtable, dy, tokens, order, s.R, s.C); };
    return p;
}

}  // namespace peri
