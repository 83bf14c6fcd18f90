// Any bytes as JSON Lines: what is accepted gives batches whose targets are the tokens that follow.
#include "data/data.h"
#include "fuzz.h"

using namespace peri;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const InputFile input(data, size, ".jsonl");
    use_or_refuse([&] {
        constexpr int T = 12;
        const auto source = open_data(input.path(), "", T);
        CHECK(source->epoch() >= 1);
        for (const Batch& batch : {source->training(1, 1, 3, T), source->validation(0, 3, T)}) {
            CHECK(batch.tokens.size() == 3 * T && batch.targets.size() == 3 * T);
            CHECK(target_count(batch) >= 3);  // each sample has one at least
            for (int i = 0; i < 3 * T; i++) {
                CHECK(batch.tokens[i] >= 0 && batch.tokens[i] < 256);
                const bool targeted = batch.targets[i] != -1, last = i % T == T - 1;
                CHECK(!targeted || last || batch.targets[i] == batch.tokens[i + 1]);
            }
        }
    });
    return 0;
}
