// Any bytes as a safetensors file: what is accepted has every tensor inside of the file.
#include "store/safetensors.h"

#include <vector>

#include "fuzz.h"

using namespace peri;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const InputFile input(data, size, ".safetensors");
    use_or_refuse([&] {
        const SafetensorsFile file(input.path());
        file.has_checksums();
        size_t total = 0;
        for (const TensorInfo& tensor : file.tensors()) {
            CHECK(file.find(tensor.name) == &tensor);
            CHECK(dtype_bytes(tensor.dtype) > 0);
            CHECK((total += tensor.bytes()) <= size);
        }
        for (const TensorInfo& tensor : file.tensors()) {
            std::vector<uint8_t> bytes(tensor.bytes());
            file.read(tensor, bytes.data());
            CHECK(bytes == std::vector<uint8_t>(data + size - total + tensor.begin,
                                                data + size - total + tensor.end));
        }
    });
    return 0;
}
