// Any bytes as a token shard: what is accepted gives batches of tokens of its vocabulary.
#include "data/data.h"
#include "fuzz.h"

void peri::read_input(const std::string& input) {
    const std::string path = input_folder().write("input.bin", input);
    use_or_refuse([&] {
        constexpr int T = 3;
        const auto source = open_data(path, "", T);
        for (const Batch& batch : {source->training(1, 1, 4, T), source->validation(0, 4, T)}) {
            for (const int token : batch.tokens) CHECK(token >= 0 && token < source->vocab());
            for (const int target : batch.targets) CHECK(target >= 0 && target < source->vocab());
        }
    });
}
