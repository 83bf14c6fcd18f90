// Any bytes as a safetensors file: what is accepted has every tensor inside of the file.
#include "store/safetensors.h"

#include "fuzz.h"

void peri::read_input(const std::string& input) {
    const std::string path = input_folder().write("input.safetensors", input);
    use_or_refuse([&] {
        const SafetensorsFile file(path);
        file.has_checksums();
        size_t total = 0;
        for (const TensorInfo& tensor : file.tensors()) {
            CHECK(file.find(tensor.name) == &tensor);
            CHECK(dtype_bytes(tensor.dtype) > 0);
            CHECK((total += tensor.bytes()) <= input.size());
        }
        for (const TensorInfo& tensor : file.tensors()) {
            std::string bytes(tensor.bytes(), '\0');
            file.read(tensor, bytes.data());
            CHECK(bytes == input.substr(input.size() - total + tensor.begin, tensor.bytes()));
        }
    });
}
