// Files written here read back bit for bit; every class of damage is named.
#include "store/safetensors.h"

#include <cstring>

#include "catch.h"
#include "check.h"
#include "helpers.h"

using namespace peri;

namespace {

const std::vector<float> matrix = {1, -2, 3.5f, 0, 1e-30f, 6};
const std::vector<uint16_t> halves = {0x3f80, 0xc000, 0x7fc0};
const std::vector<double> nothing;

// Three tensors, one of them empty, and a metadata entry.
std::string write_sample(const TemporaryDirectory& directory) {
    const std::string path = directory / "sample.safetensors";
    SafetensorsWriter writer(path,
                             {{"layers.0.w", "F32", {2, 3}},
                              {"layers.0.\"gamma\"", "BF16", {3}},
                              {"empty", "F64", {0, 7}}},
                             {{"step", "12"}});
    writer.write(matrix.data());
    writer.write(halves.data());
    writer.write(nothing.data());
    writer.close();
    return path;
}

std::string with_length(const std::string& header) {
    std::string length(8, '\0');
    for (int i = 0; i < 8; i++) length[i] = static_cast<char>(header.size() >> 8 * i);
    return length + header;
}

// What opening and reading all of a file complains of, "" if of nothing.
std::string complaint(const std::string& path) {
    try {
        const SafetensorsFile file(path);
        for (const TensorInfo& tensor : file.tensors()) {
            std::vector<char> bytes(tensor.bytes());
            file.read(tensor, bytes.data());
        }
    } catch (const UserError& error) {
        CHECK(std::string(error.what()).find(path) == 0);
        return error.what();
    }
    return "";
}

// As complaint, for a file of these bytes.
std::string complaint_of(const std::string& bytes) {
    const TemporaryDirectory directory;
    return complaint(directory.write("file.safetensors", bytes));
}

bool mentions(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("safetensors: what is written is read", "[safetensors]") {
    const TemporaryDirectory directory;
    const SafetensorsFile file(write_sample(directory));
    REQUIRE(file.tensors().size() == 3);
    CHECK(file.metadata() == Metadata{{"format", "pt"}, {"step", "12"}});
    CHECK(file.has_checksums());
    const TensorInfo* const w = file.find("layers.0.w");
    REQUIRE(w);
    CHECK((w->dtype == "F32" && w->shape == std::vector<size_t>{2, 3}));
    std::vector<float> floats(6);
    file.read(*w, floats.data());
    CHECK(std::memcmp(floats.data(), matrix.data(), 24) == 0);
    const TensorInfo* const gamma = file.find("layers.0.\"gamma\"");
    REQUIRE(gamma);
    std::vector<uint16_t> words(3);
    file.read(*gamma, words.data());
    CHECK(words == halves);
    CHECK(file.find("empty")->bytes() == 0);
    CHECK(file.find("w") == nullptr);
}

// By the format's own description: a multiple of 8, spaces at its end, data without holes.
TEST_CASE("safetensors: the file is laid out as the format says", "[safetensors]") {
    const TemporaryDirectory directory;
    const std::string bytes = read_text(write_sample(directory));
    const size_t length =
        static_cast<unsigned char>(bytes[0]) + 256 * static_cast<unsigned char>(bytes[1]);
    CHECK(length % 8 == 0);
    CHECK(bytes.size() == 8 + length + 24 + 6);
    CHECK(bytes[8] == '{');
    CHECK(std::memcmp(bytes.data() + 8 + length, matrix.data(), 24) == 0);
    CHECK(mentions(bytes.substr(8, length),
                   "\"layers.0.w\":{\"dtype\":\"F32\",\"shape\":[2,3],"
                   "\"data_offsets\":[0,24]}"));
}

TEST_CASE("safetensors: a file of others, without checksums", "[safetensors]") {
    const std::string header = R"({"a":{"dtype":"I32","shape":[],"data_offsets":[0,4]}})";
    const TemporaryDirectory directory;
    const SafetensorsFile file(
        directory.write("foreign", with_length(header) + std::string("\1\2\0\0", 4)));
    CHECK(!file.has_checksums());
    int32_t value = 0;
    file.read(file.tensors()[0], &value);
    CHECK(value == 0x201);
}

TEST_CASE("safetensors: every bit that flips and every byte that is missing is found",
          "[safetensors]") {
    const TemporaryDirectory directory;
    const std::string path = write_sample(directory), good = read_text(path);
    const SafetensorsFile whole(path);
    for (size_t i = 0; i < good.size(); i++) {
        CAPTURE(i);
        CHECK(complaint_of(good.substr(0, i)) != "");
    }
    CHECK(complaint_of(good + '\0') != "");
    // In the numbers every flip is found. In the header one may turn a name or a checksum into
    // another and still be a header: then the names, or the checksums, no longer fit.
    const size_t data = good.size() - 30;
    for (size_t i = 0; i < good.size(); i++)
        for (int bit = 0; bit < 8; bit++) {
            std::string bad = good;
            bad[i] = static_cast<char>(bad[i] ^ 1 << bit);
            const std::string said = complaint_of(bad);
            CAPTURE(i, bit, said);
            if (i >= data) {
                CHECK(mentions(said, "is damaged"));
            } else if (said == "") {
                const SafetensorsFile changed(directory.write("changed", bad));
                bool differs = changed.metadata() != whole.metadata() || !changed.has_checksums();
                for (const TensorInfo& tensor : whole.tensors()) {
                    const TensorInfo* const other = changed.find(tensor.name);
                    differs |= !other || other->dtype != tensor.dtype ||
                               other->shape != tensor.shape || other->begin != tensor.begin;
                }
                // or nothing is changed: white space behind the header
                CHECK((differs || good[i] == ' '));
            }
        }
}

TEST_CASE("safetensors: headers that lie", "[safetensors]") {
    const auto said = [](const std::string& header, size_t bytes = 4) {
        return complaint_of(with_length(header) + std::string(bytes, 'x'));
    };
    const auto entry = [](const std::string& name, const std::string& dtype,
                          const std::string& shape, const std::string& place) {
        return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
               ",\"data_offsets\":" + place + "}";
    };
    CHECK(said(std::string("{") + entry("a", "F32", "[1]", "[0,4]") + "}") == "");
    CHECK(mentions(said("{\"a\":"), "not JSON"));
    CHECK(mentions(said("[]"), "not an object"));
    CHECK(mentions(said(std::string("{") + entry("a", "F33", "[1]", "[0,4]") + "}"),
                   "unknown dtype F33"));
    // a name is quoted as one line that no terminal obeys
    CHECK(mentions(
        said(std::string("{") + entry("a\\n\\u001b[31m\\u009b", "F33", "[1]", "[0,4]") + "}"),
        "'a\\x0a\\x1b[31m\xc2\\x9b'"));
    CHECK(mentions(said(std::string("{") + entry("a", "F32", "[2]", "[0,4]") + "}"),
                   "its shape needs 8"));
    CHECK(
        mentions(said(std::string("{") + entry("a", "F32", "[-1]", "[0,4]") + "}"), "wrong shape"));
    CHECK(mentions(said(std::string("{") + entry("a", "F32", "[1.0]", "[0,4]") + "}"),
                   "wrong shape"));
    CHECK(mentions(
        said(std::string("{") + entry("a", "F32", "[4294967296,4294967296,4]", "[0,0]") + "}", 0),
        "impossible shape"));
    CHECK(
        mentions(said(std::string("{") + entry("a", "F32", "[1]", "[4,0]") + "}"), "data_offsets"));
    CHECK(mentions(said(std::string("{") + entry("a", "F32", "[1]", "[0]") + "}"), "data_offsets"));
    CHECK(mentions(said(std::string("{") + entry("a", "F32", "[1]", "[0,4]") + "," +
                            entry("b", "F32", "[1]", "[2,6]") + "}",
                        6),
                   "overlaps"));
    CHECK(mentions(said(std::string("{") + entry("a", "F32", "[1]", "[4,8]") + "}", 8), "hole"));
    CHECK(mentions(said(std::string("{") + entry("a", "F32", "[1]", "[0,4]") + "}", 5),
                   "5 bytes of numbers"));
    CHECK(mentions(said(std::string("{") + entry("a", "F32", "[1]", "[0,4]") + "," +
                        entry("a", "F32", "[1]", "[0,4]") + "}"),
                   "twice"));
    CHECK(mentions(said("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}"), "no proper"));
    CHECK(mentions(said("{\"a\":3}"), "no proper"));
    CHECK(mentions(said("{\"__metadata__\":3}"), "metadata"));
    CHECK(mentions(said("{\"__metadata__\":{\"a\":3}}"), "metadata"));
    CHECK(mentions(complaint_of("short"), "not a whole safetensors file"));
    CHECK(mentions(complaint_of(std::string(8, '\xff') + "{}"), "not a whole safetensors file"));
    CHECK(mentions(complaint("/nowhere/file"), "cannot be read"));
}
