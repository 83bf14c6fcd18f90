#include "store/safetensors.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <set>

#include "check.h"
#include "json.h"
#include "open_file.h"

namespace peri {

using Json = nlohmann::json;

namespace {

constexpr size_t longest_header = 100'000'000;  // the format's own limit
// A tensor takes about ten values and three levels of its JSON. Without a limit 100 MB of brackets
// would take gigabytes.
constexpr size_t most_values = 1'000'000;
constexpr int deepest_value = 4;
const std::string checksum_prefix = "crc32 ";  // of a tensor's name, in the metadata

uLong crc_of(const void* data, size_t bytes, uLong before = 0) {
    return crc32_z(before, static_cast<const Bytef*>(data), bytes);
}

std::string checksum_text(uLong crc) {
    char text[9];
    std::snprintf(text, sizeof text, "%08lx", static_cast<unsigned long>(crc));
    return text;
}

}  // namespace

size_t dtype_bytes(const std::string& dtype) {
    static const std::map<std::string, size_t> sizes = {
        {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
        {"I8", 1},  {"U64", 8}, {"U32", 4}, {"U16", 2},  {"U8", 1},  {"BOOL", 1}};
    const auto found = sizes.find(dtype);
    return found == sizes.end() ? 0 : found->second;
}

// ---- writing ------------------------------------------------------------------------------------

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<TensorInfo> tensors,
                                     Metadata metadata)
    : tensors_(std::move(tensors)), metadata_(std::move(metadata)), file_(path) {
    metadata_["format"] = "pt";
    size_t end = 0;
    for (TensorInfo& tensor : tensors_) {
        size_t bytes = dtype_bytes(tensor.dtype);
        for (const size_t length : tensor.shape) bytes *= length;
        tensor.begin = end;
        tensor.end = end += bytes;
        metadata_[checksum_prefix + tensor.name] = "00000000";  // until it has been written
    }
    const std::string text = header();
    file_.write(text.data(), text.size());
}

// The length and the JSON, padded with spaces to a multiple of 8 bytes. Its size does not depend on
// the checksums.
std::string SafetensorsWriter::header() const {
    nlohmann::ordered_json json;
    json["__metadata__"] = metadata_;
    for (const TensorInfo& tensor : tensors_)
        json[tensor.name] = {{"dtype", tensor.dtype},
                             {"shape", tensor.shape},
                             {"data_offsets", {tensor.begin, tensor.end}}};
    std::string text = json.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    std::string length(8, '\0');
    for (int i = 0; i < 8; i++) length[i] = static_cast<char>(text.size() >> 8 * i);
    return length + text;
}

void SafetensorsWriter::write(const void* data) {
    CHECK(next_ < tensors_.size());
    const TensorInfo& tensor = tensors_[next_++];
    metadata_[checksum_prefix + tensor.name] = checksum_text(crc_of(data, tensor.bytes()));
    file_.write(data, tensor.bytes());
}

void SafetensorsWriter::close() {
    CHECK(next_ == tensors_.size());
    const std::string text = header();
    file_.write_at(0, text.data(), text.size());
    file_.close();
}

// ---- reading ------------------------------------------------------------------------------------

namespace {

// The header's JSON. nlohmann's parser keeps the last of two equal names; here they are an error.
Json parse_header(const std::string& text, const std::string& path) {
    std::vector<std::set<std::string>> names;  // of the objects that are open
    size_t values = 0;
    const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
        if (++values > most_values || depth > deepest_value)
            throw UserError(path + ": its header is no list of tensors (" +
                            (depth > deepest_value ? "nested too deep" : "too long") + ")");
        if (event == Json::parse_event_t::object_start) names.emplace_back();
        if (event == Json::parse_event_t::object_end) names.pop_back();
        if (event == Json::parse_event_t::key && !names.back().insert(value).second)
            throw UserError(path + ": the name " + value.dump() + " comes twice in its header");
        return true;
    };
    try {
        return Json::parse(text, watch);
    } catch (const Json::exception& e) {
        throw UserError(path + ": its header is not JSON (" + e.what() + ")");
    }
}

TensorInfo parse_tensor(const std::string& name, const Json& entry, const std::string& path) {
    const auto wrong = [&](const std::string& what) {
        return UserError(path + ": tensor '" + name + "' " + what);
    };
    TensorInfo tensor;
    tensor.name = name;
    std::vector<size_t> place;
    try {
        const auto sizes = [&](const char* key) {
            for (const Json& n : entry.at(key))
                if (!n.is_number_unsigned()) throw wrong(std::string("has a wrong ") + key);
            return entry.at(key).get<std::vector<size_t>>();
        };
        tensor.dtype = entry.at("dtype").get<std::string>();
        tensor.shape = sizes("shape");
        place = sizes("data_offsets");
    } catch (const Json::exception&) {
        throw wrong("has no proper dtype, shape and data_offsets");
    }
    size_t bytes = dtype_bytes(tensor.dtype);
    if (bytes == 0) throw wrong("has the unknown dtype " + tensor.dtype);
    for (const size_t length : tensor.shape)
        if (__builtin_mul_overflow(bytes, length, &bytes)) throw wrong("has an impossible shape");
    if (place.size() != 2 || place[0] > place[1]) throw wrong("has wrong data_offsets");
    tensor.begin = place[0];
    tensor.end = place[1];
    if (tensor.bytes() != bytes)
        throw wrong("has " + std::to_string(tensor.bytes()) + " bytes where its shape needs " +
                    std::to_string(bytes));
    return tensor;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path) {
    std::ifstream file = open_file(path);
    if (!file) throw UserError(path + ": cannot be read (" + why_unreadable(path) + ")");
    file.seekg(0, std::ios::end);
    const size_t size = static_cast<size_t>(file.tellg());
    unsigned char length[8] = {};
    file.seekg(0);
    file.read(reinterpret_cast<char*>(length), 8);
    size_t header_bytes = 0;
    for (int i = 0; i < 8; i++) header_bytes |= size_t(length[i]) << 8 * i;
    if (size < 8 || header_bytes > longest_header || header_bytes > size - 8)
        throw UserError(path + ": is not a whole safetensors file (" + std::to_string(size) +
                        " bytes)");
    data_ = 8 + header_bytes;
    std::string text(header_bytes, '\0');
    file.read(text.data(), static_cast<std::streamsize>(header_bytes));
    if (!file) throw UserError(path + ": cannot be read");
    const Json header = parse_header(text, path);
    if (!header.is_object()) throw UserError(path + ": its header is not an object");
    for (const auto& [name, entry] : header.items()) {
        if (name != "__metadata__") {
            tensors_.push_back(parse_tensor(name, entry, path));
            continue;
        }
        if (!entry.is_object()) throw UserError(path + ": its metadata is not an object");
        for (const auto& [key, value] : entry.items()) {
            if (!value.is_string()) throw UserError(path + ": its metadata is not all text");
            const bool of_tensor = key.starts_with(checksum_prefix);
            (of_tensor ? checksums_
                       : metadata_)[of_tensor ? key.substr(checksum_prefix.size()) : key] =
                value.get<std::string>();
        }
    }
    std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
        return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
    });
    size_t end = 0;
    for (const TensorInfo& tensor : tensors_) {
        if (tensor.begin != end)
            throw UserError(
                path + ": tensor '" + tensor.name +
                (tensor.begin < end ? "' overlaps the one before" : "' leaves a hole before it"));
        end = tensor.end;
    }
    if (end != size - data_)
        throw UserError(path + ": holds " + std::to_string(size - data_) +
                        " bytes of numbers where its header says " + std::to_string(end));
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
    for (const TensorInfo& tensor : tensors_)
        if (tensor.name == name) return &tensor;
    return nullptr;
}

bool SafetensorsFile::has_checksums() const {
    return std::all_of(tensors_.begin(), tensors_.end(),
                       [&](const TensorInfo& tensor) { return checksums_.count(tensor.name) > 0; });
}

std::ifstream SafetensorsFile::open_at(const TensorInfo& tensor) const {
    std::ifstream file = open_file(path_);
    file.seekg(static_cast<std::streamoff>(data_ + tensor.begin));
    return file;
}

void SafetensorsFile::compare(const TensorInfo& tensor, unsigned long crc) const {
    const auto expected = checksums_.find(tensor.name);
    if (expected != checksums_.end() && expected->second != checksum_text(crc))
        throw UserError(path_ + ": tensor '" + tensor.name + "' is damaged (its checksum differs)");
}

void SafetensorsFile::read(const TensorInfo& tensor, void* to) const {
    std::ifstream file = open_at(tensor);
    file.read(static_cast<char*>(to), static_cast<std::streamsize>(tensor.bytes()));
    if (!file) throw UserError(path_ + ": cannot be read");
    compare(tensor, crc_of(to, tensor.bytes()));
}

void SafetensorsFile::check(const TensorInfo& tensor) const {
    std::ifstream file = open_at(tensor);
    std::vector<char> part(std::min(tensor.bytes(), size_t(1) << 20));
    uLong crc = 0;
    for (size_t left = tensor.bytes(); left > 0; left -= part.size()) {
        part.resize(std::min(left, part.size()));
        file.read(part.data(), static_cast<std::streamsize>(part.size()));
        if (!file) throw UserError(path_ + ": cannot be read");
        crc = crc_of(part.data(), part.size(), crc);
    }
    compare(tensor, crc);
}

}  // namespace peri
