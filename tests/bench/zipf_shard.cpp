// Writes a shard of tokens as frequent as those of text (tests/zipf.h), to time steps on: where tokens are all
// alike or all as frequent, the embedding's gradient costs another time.
//
// Usage: zipf_shard FILE TOKENS VOCABULARY
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "helpers.h"
#include "zipf.h"

int main(int argc, char** argv) {
    using namespace peri;
    const long n = argc == 4 ? std::atol(argv[2]) : 0, vocab = argc == 4 ? std::atol(argv[3]) : 0;
    if (n < 1 || vocab < 1) {
        std::fprintf(stderr, "usage: zipf_shard FILE TOKENS VOCABULARY\n");
        return 2;
    }
    Rng rng(1);
    std::vector<uint32_t> tokens(n);
    for (uint32_t& token : tokens) token = zipf(rng, static_cast<int>(vocab));
    std::ofstream file(argv[1], std::ios::binary);
    file << shard(tokens);
    file.close();
    if (!file) std::fprintf(stderr, "%s cannot be written: name another file\n", argv[1]);
    return file ? 0 : 2;
}
