// One order of adding n parts, however they are spread over processes: a binary tree. [a, b) is the
// sum of [a, a + h) and [a + h, b), h being the largest power of two below b - a. So 2^k adjacent
// parts that begin at a multiple of 2^k are a sub-tree, which one process can add by itself.
#pragma once

#include <bit>
#include <cstddef>

namespace peri {

// Calls add(i, j), "part i += part j", until part `begin` is the sum of them all.
template <class Add>
void add_in_tree(size_t begin, size_t end, Add&& add) {
    if (end - begin < 2) return;
    const size_t middle = begin + std::bit_floor(end - begin - 1);
    add_in_tree(begin, middle, add);
    add_in_tree(middle, end, add);
    add(begin, middle);
}

}  // namespace peri
