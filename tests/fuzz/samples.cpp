// Any bytes as JSON Lines: what is accepted gives batches whose targets are the tokens that follow.
#include "data/data.h"
#include "fuzz.h"

void peri::read_input(const std::string& input) {
    const std::string path = input_folder().write("input.jsonl", input);
    use_or_refuse([&] {
        constexpr int T = 12;
        const auto source = open_data(path, "", T);
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
}
