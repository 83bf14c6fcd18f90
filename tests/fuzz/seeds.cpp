// Writes what the fuzzers start from: DIR/<target>/..., good files and files with a usual damage.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "helpers.h"
#include "store/safetensors.h"

using namespace peri;

namespace {

std::string folder;

void write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder + "/" + name, std::ios::binary) << bytes;
}

void write_tensors() {
    const std::vector<float> matrix = {1, -2, 3.5f, 0, 1e-30f, 6};
    const std::vector<uint16_t> halves = {0x3f80, 0xc000, 0x7fc0};
    SafetensorsWriter writer(folder + "/safetensors/good",
                             {{"w", "F32", {2, 3}}, {"g", "BF16", {3}}, {"none", "F64", {0}}},
                             {{"step", "12"}});
    writer.write(matrix.data());
    writer.write(halves.data());
    writer.write(nullptr);
    writer.close();

    const auto with_length = [](const std::string& header) {
        return std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header;
    };
    write("safetensors/plain",
          with_length(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})") + "xy");
    write("safetensors/hole",
          with_length(R"({"a":{"dtype":"I16","shape":[1],"data_offsets":[2,4]}})") + "abcd");
    write("safetensors/none", with_length("{}"));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: seeds DIR\n");
        return 2;
    }
    folder = argv[1];
    for (const char* target : {"safetensors", "shard", "settings", "samples"})
        std::filesystem::create_directories(folder + "/" + target);

    write_tensors();
    const std::vector<uint16_t> narrow(80, 7);
    const std::vector<uint32_t> wide(80, 70'000);
    write("shard/narrow", shard(narrow));
    write("shard/wide", shard(wide));
    write("shard/version", shard(20240520, 7, 80, narrow));
    write("shard/cut", shard(20240801, 7, 81, wide));

    write("settings/good",
          R"({"norm": "post:3,peri:9", "lr": 2e-3, "layernorm": true, "seq": 31})");
    write("settings/all",
          R"({"init": "d:1.5", "decay": "wsd", "steps": 12, "warmup": 0.1, "precision": "bf16",
"batch": 4, "accumulate": 2, "qk-norm": "head", "size": "tiny", "data": "a.txt", "epochs": 15})");
    write("settings/kind", R"({"lr": "fast"})");
    write("settings/large", R"({"lr": 1e999})");
    write("settings/name", R"({"rate": null})");

    const std::string sample = R"({"prompt": "ab", "completion": "c\u00e9d"})"
                               "\n";
    write("samples/good", sample + "\n" + sample + R"({"completion": "x", "prompt": "", "id": 3})");
    write("samples/kind", R"({"prompt": 1, "completion": ["c"]})");
    write("samples/long", sample + R"({"prompt": "longer than it may be", "completion": "c"})");
}
