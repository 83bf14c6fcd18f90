// Any bytes as a safetensors file: what is accepted has every tensor inside of the file.
#include "store/safetensors.h"

#include <random>

#include "fuzz.h"
#include "json.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using Json = nlohmann::ordered_json;

std::string mutated(std::string text, size_t most) {
    const size_t size = text.size();
    text.resize(std::max(most, size));
    text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(text.data()), size, text.size()));
    return text;
}

size_t bytes_of(const Json& entry) {
    size_t bytes = peri::dtype_bytes(entry.at("dtype").get<std::string>());
    for (const Json& length : entry.at("shape"))
        if (length.is_number_unsigned()) bytes *= length.get<size_t>() % 64;
    return bytes;
}

// Tensors behind each other, each with the bytes of its shape, and as many numbers.
void put_right(std::string& header, std::string& numbers) {
    Json json = Json::parse(header, nullptr, false);
    if (!json.is_object()) return;
    size_t end = 0;
    for (auto& [name, entry] : json.items()) {
        if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape")) continue;
        try {
            const size_t begin = end;
            entry["data_offsets"] = {begin, end += bytes_of(entry)};
        } catch (const Json::exception&) {
        }
    }
    if (end > 4096) return;
    header = json.dump();
    numbers.resize(end, 'n');
}

}  // namespace

// Mutates header or numbers, mostly with the length of the header and the places of the tensors put right
// again: else next to nothing would come past the first two checks.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
    std::minstd_rand random(seed);
    if (size < 8 || random() % 8 == 0) return LLVMFuzzerMutate(data, size, max_size);
    const std::string file(reinterpret_cast<const char*>(data), size);
    size_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | data[i];
    std::string header = file.substr(8, length), numbers = file.substr(8 + header.size());
    const bool of_numbers = random() % 4 == 0;
    std::string& part = of_numbers ? numbers : header;
    part = mutated(part, max_size - size + part.size());
    if (random() % 4) put_right(header, numbers);
    std::string whole(8, '\0');
    for (int i = 0; i < 8; i++) whole[i] = static_cast<char>(header.size() >> 8 * i);
    whole += header + numbers;
    whole.resize(std::min(whole.size(), max_size));
    std::copy(whole.begin(), whole.end(), data);
    return whole.size();
}

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
