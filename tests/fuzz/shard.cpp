// Any bytes as a token shard: what is accepted gives batches of tokens of its vocabulary.
#include "data/data.h"
#include "fuzz.h"

using namespace peri;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const InputFile input(data, size, ".bin");
    use_or_refuse([&] {
        constexpr int T = 3;
        const auto source = open_data(input.path(), "", T);
        for (const Batch& batch : {source->training(1, 1, 4, T), source->validation(0, 4, T)}) {
            for (const int token : batch.tokens) CHECK(token >= 0 && token < source->vocab());
            for (const int target : batch.targets) CHECK(target >= 0 && target < source->vocab());
        }
    });
    return 0;
}
