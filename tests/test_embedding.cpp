#include "catch.h"
#include "gradcheck.h"
#include "problems/embedding.h"

using namespace peri;

namespace {

const EmbeddingShape shapes[] = {{1, 1, 1}, {5, 3, 7}, {9, 1, 2}, {70, 5, 11}, {3, 13, 100}};

Problem<double> with_random_tokens(const EmbeddingShape& s, uint64_t seed) {
    return embedding<double>(s, tokens_of(s, seed), seed);
}

}  // namespace

TEST_CASE("embedding: gradients", "[embedding]") {
    for (const uint64_t seed : seeds)
        for (const EmbeddingShape& s : shapes)
            CHECK(gradient_errors(with_random_tokens(s, seed)) == "");
}

TEST_CASE("embedding: tokens that are not in the batch get exactly nothing", "[embedding]") {
    auto p = embedding<double>({4, 3, 5}, {4, 0, 4, 2}, 1);
    p.run();
    const std::vector<double> d = p.values("dtable"), dy = p.values("dy");
    CHECK(nonzero({&d[3], &d[3] + 3}) == "");
    CHECK(nonzero({&d[9], &d[9] + 3}) == "");
    CHECK(difference({d[0], d[6], d[12]}, {dy[3], dy[9], dy[0] + dy[6]}, roundings(8)) == "");
}

TEST_CASE("embedding: all rows the same token", "[embedding]") {
    const EmbeddingShape s{67, 3, 4};
    const std::vector<int> tokens(s.R, 3);
    CHECK(gradient_errors(embedding<double>(s, tokens, 1)) == "");
}

TEST_CASE("embedding: the same bits twice", "[embedding]") {
    CHECK(bit_errors([] { return with_random_tokens({200, 5, 11}, 1); }) == "");
}
