// When a library computes attention, and what memory that takes: gpu/attention_library.h.
#include "attention_library.h"
#include "catch.h"

using namespace peri;
using enum AttentionBy;

namespace {

constexpr int ampere = 8, hopper = 9, blackwell = 10;
constexpr AttentionShape usual = {4, 8192, 8192, 0, 16, 16, 128};

AttentionShape with(int AttentionShape::*member, int value, AttentionShape s = usual) {
    s.*member = value;
    return s;
}

}  // namespace

TEST_CASE("attention's library: the shapes that it takes", "[sim]") {
    CHECK(library_takes(usual, false, hopper));
    CHECK(library_takes(usual, false, ampere));
    CHECK_FALSE(library_takes(usual, true, hopper));  // documents
    CHECK_FALSE(library_takes(with(&AttentionShape::first, 1), false, hopper));
    CHECK_FALSE(library_takes(with(&AttentionShape::Tk, 8193), false, hopper));
    CHECK_FALSE(library_takes(with(&AttentionShape::Tq, 8191), false, hopper));
    CHECK(library_takes({1, 64, 64, 0, 1, 1, 8}, false, hopper));
    CHECK_FALSE(library_takes({1, 63, 63, 0, 1, 1, 8}, false, hopper));
    CHECK(library_takes(with(&AttentionShape::KV, 4), false, hopper));
    for (const int D : {8, 64, 80, 96, 128}) {
        CHECK(library_takes(with(&AttentionShape::D, D), false, ampere));
        CHECK(library_takes(with(&AttentionShape::D, D), false, blackwell));
    }
    for (const int D : {136, 160, 256}) {
        CHECK(library_takes(with(&AttentionShape::D, D), false, hopper));
        CHECK_FALSE(library_takes(with(&AttentionShape::D, D), false, ampere));
        CHECK_FALSE(library_takes(with(&AttentionShape::D, D), false, blackwell));
    }
    for (const int D : {1, 12, 100, 264})
        CHECK_FALSE(library_takes(with(&AttentionShape::D, D), false, hopper));
}

TEST_CASE("attention's library: who computes", "[sim]") {
    const AttentionShape long_one = {1, 65536, 65536, 0, 16, 16, 128};  // 128 GiB of matrices
    CHECK(library_chosen(automatic, usual, false, hopper));
    CHECK(library_chosen(library, usual, false, hopper));
    CHECK_FALSE(library_chosen(tiles, usual, false, hopper));
    CHECK_FALSE(library_chosen(automatic, long_one, false, hopper));
    CHECK(library_chosen(library, long_one, false, hopper));
    for (const AttentionBy by : {automatic, tiles, library})
        CHECK_FALSE(library_chosen(by, usual, true, hopper));
}

TEST_CASE("attention's library: its workspace", "[sim]") {
    // 16 heads of 8192 x 8192 numbers of bf16 are 2 GiB: not quite two sequences' have room in 4
    const size_t matrices = size_t(16) * 8192 * 8192 * 2, sums = size_t(16) * 8192 * 4,
                 rest = 1 << 20;
    CHECK(library_scratch_of_one(usual) == matrices + sums + rest);
    CHECK(library_sequences(usual) == 1);
    CHECK(library_scratch(usual) == library_scratch_of_one(usual));
    // in whole tiles: 100 queries are 128, 100 keys are 128
    const AttentionShape small = {5, 100, 100, 0, 4, 4, 96};
    CHECK(library_scratch_of_one(small) == size_t(4) * (128 * 128 * 2 + 128 * 4) + rest);
    CHECK(library_sequences(small) == 5);
    CHECK(library_scratch(small) == 5 * library_scratch_of_one(small));
    // heads that share keys: dk and dv of each of them
    const AttentionShape shared = with(&AttentionShape::KV, 4);
    CHECK(library_scratch_of_one(shared) ==
          library_scratch_of_one(usual) + size_t(2) * 16 * 8192 * 128 * 4);
    CHECK(library_sequences({1, 65536, 65536, 0, 16, 16, 128}) == 1);
}

TEST_CASE("attention's library: none is linked with the simulator", "[sim]") {
    CHECK(library_version() == 0);
}
