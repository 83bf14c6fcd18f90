#include <numeric>

#include "catch.h"
#include "gradcheck.h"

using namespace peri;

namespace {

struct Shape {
    int R, C, V;
};
const Shape shapes[] = {{1, 1, 1}, {5, 3, 7}, {9, 1, 2}, {70, 5, 11}, {3, 13, 100}};

std::vector<int> tokens_of(Shape s, uint64_t seed) {
    Rng rng(seed, 99);
    std::vector<int> tokens(s.R);
    for (int& token : tokens) token = static_cast<int>(rng.below(s.V));
    return tokens;
}

std::vector<int> sorted_rows(const std::vector<int>& tokens) {
    std::vector<int> order(tokens.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return tokens[a] < tokens[b]; });
    return order;
}

template <class T>
Problem<T> embedding(Shape s, const std::vector<int>& token_list, uint64_t seed) {
    Problem<T> p("embedding", {s.R, s.C, s.V}, seed);
    T* const table = p.input("table", size_t(s.V) * s.C);
    const int* const tokens = p.integers("tokens", token_list);
    const int* const order = p.integers("order", sorted_rows(token_list));
    T* const y = p.output("y", size_t(s.R) * s.C, 1);
    T* const dy = p.upstream("y");
    Accum<T>* const dtable = p.accumulated_gradient("table", s.R);
    p.forward = [=] { embedding_forward<T>(y, table, tokens, s.R, s.C); };
    p.backward = [=] { embedding_backward<T>(dtable, dy, tokens, order, s.R, s.C); };
    return p;
}

template <class T>
Problem<T> embedding(Shape s, uint64_t seed) {
    return embedding<T>(s, tokens_of(s, seed), seed);
}

}  // namespace

TEST_CASE("embedding: gradients", "[embedding]") {
    for (const uint64_t seed : seeds)
        for (const Shape& s : shapes) CHECK(gradient_errors(embedding<double>(s, seed)) == "");
}

TEST_CASE("embedding: a row is the table's row, to the bit", "[embedding]") {
    const Shape s{4, 3, 5};
    const std::vector<int> tokens = {4, 0, 4, 2};
    auto p = embedding<float>(s, tokens, 1);
    const std::vector<double> table = p.values("table");
    std::vector<double> expected;
    for (const int token : tokens)
        expected.insert(expected.end(), &table[token * 3], &table[token * 3] + 3);
    CHECK(bit_difference(p.run().values("y"), expected) == "");
}

TEST_CASE("embedding: tokens that are not in the batch get exactly nothing", "[embedding]") {
    auto p = embedding<double>({4, 3, 5}, {4, 0, 4, 2}, 1);
    p.run();
    const std::vector<double> d = p.values("dtable"), dy = p.values("dy");
    CHECK(nonzero({&d[3], &d[3] + 3}) == "");
    CHECK(nonzero({&d[9], &d[9] + 3}) == "");
    CHECK(difference({d[0], d[6], d[12]}, {dy[3], dy[9], dy[0] + dy[6]}, 1e-15) == "");
}

TEST_CASE("embedding: all rows the same token", "[embedding]") {
    const Shape s{67, 3, 4};
    const std::vector<int> tokens(s.R, 3);
    CHECK(gradient_errors(embedding<double>(s, tokens, 1)) == "");
    CHECK(bit_errors([&] { return embedding<float>(s, tokens, 1); }) == "");
}

TEST_CASE("embedding: sums run in the order of the rows, on any number of threads", "[embedding]") {
    const Shape s{200, 3, 5};
    const std::vector<int> tokens = tokens_of(s, 1);
    for (const int n : {1, 2}) {
        const Threads only(n);
        auto p = embedding<float>(s, tokens, 1);
        p.run();
        std::vector<float> sum;
        for (const double start : p.before("dtable")) sum.push_back(static_cast<float>(start));
        const std::vector<double> dy = p.values("dy");
        for (int r = 0; r < s.R; r++)
            for (int c = 0; c < s.C; c++)
                sum[tokens[r] * s.C + c] += static_cast<float>(dy[r * s.C + c]);
        CHECK(bit_difference(p.device_values("dtable"), {sum.begin(), sum.end()}) == "");
    }
}

TEST_CASE("embedding: float against double", "[embedding]") {
    // k = 2: one sum per term
    for (const uint64_t seed : seeds)
        for (const Shape& s : shapes)
            CHECK(float_errors(embedding<float>(s, seed), embedding<double>(s, seed), 2) == "");
}

TEST_CASE("embedding: bf16 against double", "[embedding]") {
    // No rounding: y is copied, dtable summed in float. k as above.
    for (const uint64_t seed : seeds)
        for (const Shape& s : shapes)
            CHECK(bf16_errors(embedding<bf16>(s, seed), embedding<double>(s, seed), 2,
                              {{"y", 0}}) == "");
}

TEST_CASE("embedding: the same bits twice", "[embedding]") {
    CHECK(bit_errors([] { return embedding<float>({200, 5, 11}, 1); }) == "");
    CHECK(bit_errors([] { return embedding<double>({200, 5, 11}, 1); }) == "");
    CHECK(bit_errors([] { return embedding<bf16>({200, 5, 11}, 1); }) == "");
}
