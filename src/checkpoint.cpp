#include "checkpoint.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "check.h"
#include "safetensors.h"

namespace peri {

namespace fs = std::filesystem;

namespace {

template <class Number>
const char* const dtype_of = sizeof(Number) == 8   ? "F64"
                             : sizeof(Number) == 4 ? "F32"
                                                   : "BF16";

std::vector<size_t> shape_of(const Tensor& tensor) {
    if (tensor.is_matrix()) return {size_t(tensor.rows), size_t(tensor.cols)};
    return {size_t(tensor.cols)};
}

std::string name_of(int64_t step) {
    char name[32];
    std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
    return name;
}

// ---- writing ------------------------------------------------------------------------------------

// Copies numbers from the device and appends them to the file.
template <class T, class Number>
void write(SafetensorsWriter& file, const Number* device, size_t n) {
    std::vector<Number> numbers(n);
    device_download<T>(numbers.data(), device, n * sizeof(Number));
    file.write(numbers.data());
}

template <class T>
void write_weights(const std::string& path, const Model<T>& model, const Metadata& metadata) {
    std::vector<TensorInfo> tensors;
    for (const Tensor& tensor : model.table().rows)
        tensors.push_back(
            {tensor.name, tensor.is_matrix() ? dtype_of<T> : dtype_of<Accum<T>>, shape_of(tensor)});
    SafetensorsWriter file(path, tensors, metadata);
    for (int id = 0; id < static_cast<int>(tensors.size()); id++) {
        const Tensor& tensor = model.table().rows[id];
        if (tensor.is_matrix())
            write<T>(file, model.matrix(id), tensor.size());
        else
            write<T>(file, model.vector(id), tensor.size());
    }
    file.close();
}

template <class T>
void write_state(const std::string& path, const Model<T>& model, const Optimizer<T>& optimizer,
                 const Metadata& metadata) {
    const auto state = optimizer.state();
    std::vector<TensorInfo> tensors;
    for (const auto& part : state)
        tensors.push_back({part.name, dtype_of<Accum<T>>, shape_of(model.table().rows[part.id])});
    SafetensorsWriter file(path, tensors, metadata);
    for (const auto& part : state) write<T>(file, part.numbers, model.table().rows[part.id].size());
    file.close();
}

// ---- reading ------------------------------------------------------------------------------------

// Throws unless the file holds exactly these tensors, with checksums.
void check_tensors(const SafetensorsFile& file, const std::string& path,
                   const std::vector<TensorInfo>& expected) {
    if (!file.has_checksums())
        throw UserError(path +
                        ": was not written by this program (it has no checksums): give its "
                        "directory to --init-from to start from its weights");
    for (const TensorInfo& tensor : expected) {
        const TensorInfo* const found = file.find(tensor.name);
        if (!found || found->shape != tensor.shape || found->dtype != tensor.dtype)
            throw UserError(path + ": is of another model or precision (tensor '" + tensor.name +
                            "')");
    }
    if (file.tensors().size() != expected.size())
        throw UserError(path + ": is of another model (it has more tensors)");
}

template <class T, class Number>
void read(const SafetensorsFile& file, const std::string& name, Number* device, size_t n) {
    std::vector<Number> numbers(n);
    file.read(*file.find(name), numbers.data());
    device_upload<T>(device, numbers.data(), n * sizeof(Number));
}

int64_t step_of(const SafetensorsFile& file, const std::string& path) {
    const auto entry = file.metadata().find("step");
    if (entry == file.metadata().end()) throw UserError(path + ": does not say its step");
    return std::atoll(entry->second.c_str());
}

// The numbers of a tensor of any floating-point dtype.
std::vector<double> read_as_double(const SafetensorsFile& file, const TensorInfo& tensor,
                                   const std::string& path) {
    std::vector<char> bytes(tensor.bytes());
    file.read(tensor, bytes.data());
    const auto as = [&]<class Number>(Number) {
        std::vector<Number> numbers(bytes.size() / sizeof(Number));
        std::memcpy(numbers.data(), bytes.data(), bytes.size());
        return std::vector<double>(numbers.begin(), numbers.end());
    };
    if (tensor.dtype == "F64") return as(double());
    if (tensor.dtype == "F32") return as(float());
    if (tensor.dtype == "BF16") return as(bf16(0));
    throw UserError(path + ": tensor '" + tensor.name + "' is " + tensor.dtype +
                    ": F64, F32 and BF16 can be read");
}

}  // namespace

// ---- checkpoints --------------------------------------------------------------------------------

std::vector<SavedStep> saved_steps(const std::string& out) {
    std::vector<SavedStep> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(out, error)) {
        const std::string name = entry.path().filename().string();
        long long step = 0;
        int read = 0;
        if (std::sscanf(name.c_str(), "step-%lld%n", &step, &read) == 1 &&
            read == static_cast<int>(name.size()) && step >= 0 && name == name_of(step))
            found.push_back({step, entry.path().string()});
    }
    std::sort(found.begin(), found.end(),
              [](const SavedStep& a, const SavedStep& b) { return a.step > b.step; });
    return found;
}

namespace {

// Whether every byte of a checkpoint's tensors is as it was written.
bool is_whole(const std::string& path) {
    try {
        for (const char* name : {"/model.safetensors", "/optimizer.safetensors"}) {
            const SafetensorsFile file(path + name);
            if (!file.has_checksums()) return false;
            for (const TensorInfo& tensor : file.tensors()) {
                std::vector<char> bytes(tensor.bytes());
                file.read(tensor, bytes.data());
            }
        }
    } catch (const UserError&) {
        return false;
    }
    return true;
}

}  // namespace

template <class T>
void save_checkpoint(const std::string& out, const Model<T>& model, const Optimizer<T>& optimizer,
                     const std::vector<std::pair<std::string, std::string>>& texts, int keep) {
    const std::string place = out + "/" + name_of(optimizer.steps());
    const std::string beside = out + "/unfinished";
    if (is_whole(place)) return;
    try {
        fs::remove_all(place);
        fs::remove_all(beside);
        fs::create_directory(beside);
    } catch (const fs::filesystem_error& e) {
        throw UserError(beside + ": cannot be made anew (" + e.code().message() + ")");
    }
    const Metadata metadata = {{"step", std::to_string(optimizer.steps())},
                               {"vocab", std::to_string(model.config().vocab)}};
    write_weights(beside + "/model.safetensors", model, metadata);
    write_state(beside + "/optimizer.safetensors", model, optimizer, metadata);
    for (const auto& [name, text] : texts) save_durably(beside + "/" + name, text);
    sync_directory(beside);
    rename_durably(beside, place);
    if (keep == 0) return;
    const std::vector<SavedStep> all = saved_steps(out);
    std::error_code ignored;  // an old one that stays does no harm
    for (size_t i = keep; i < all.size(); i++) fs::remove_all(all[i].path, ignored);
}

template <class T>
void load_checkpoint(const std::string& path, Model<T>& model, Optimizer<T>& optimizer) {
    const std::string weights_path = path + "/model.safetensors";
    const std::string state_path = path + "/optimizer.safetensors";
    const SafetensorsFile weights(weights_path), state(state_path);
    const TensorTable& table = model.table();
    std::vector<TensorInfo> expected;
    for (const Tensor& tensor : table.rows)
        expected.push_back(
            {tensor.name, tensor.is_matrix() ? dtype_of<T> : dtype_of<Accum<T>>, shape_of(tensor)});
    check_tensors(weights, weights_path, expected);
    expected.clear();
    for (const auto& part : optimizer.state())
        expected.push_back({part.name, dtype_of<Accum<T>>, shape_of(table.rows[part.id])});
    check_tensors(state, state_path, expected);
    const int64_t step = step_of(weights, weights_path);
    if (step != step_of(state, state_path))
        throw UserError(path + ": its two files are of different steps");

    for (int id = 0; id < static_cast<int>(table.rows.size()); id++) {
        const Tensor& tensor = table.rows[id];
        if (tensor.is_matrix())
            read<T>(weights, tensor.name, model.matrix(id), tensor.size());
        else
            read<T>(weights, tensor.name, model.vector(id), tensor.size());
    }
    for (const auto& part : optimizer.state())
        read<T>(state, part.name, part.numbers, table.rows[part.id].size());
    optimizer.set_steps(static_cast<int>(step));
}

namespace {

std::string weights_file(const std::string& path) {
    return fs::is_directory(path) ? path + "/model.safetensors" : path;
}

}  // namespace

int saved_vocab(const std::string& path) {
    const SafetensorsFile file(weights_file(path));
    if (const auto noted = file.metadata().find("vocab"); noted != file.metadata().end())
        return std::atoi(noted->second.c_str());
    const TensorInfo* const embedding = file.find("embedding.weight");
    if (!embedding || embedding->shape.size() != 2)
        throw UserError(weights_file(path) +
                        ": has no matrix 'embedding.weight': give weights that this program saved");
    return static_cast<int>(embedding->shape[0]);
}

template <class T>
void load_weights(const std::string& path, Model<T>& model) {
    const std::string file_path = weights_file(path);
    const SafetensorsFile file(file_path);
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++) {
        const Tensor& tensor = model.table().rows[id];
        const TensorInfo* const found = file.find(tensor.name);
        if (!found || found->shape != shape_of(tensor))
            throw UserError(file_path + ": has no tensor '" + tensor.name +
                            "' of this model's shape: give the flags that it was trained with");
        model.set_values(id, read_as_double(file, *found, file_path));
    }
}

#define INSTANTIATE(T)                                                                           \
    template void save_checkpoint(const std::string&, const Model<T>&, const Optimizer<T>&,      \
                                  const std::vector<std::pair<std::string, std::string>>&, int); \
    template void load_checkpoint(const std::string&, Model<T>&, Optimizer<T>&);                 \
    template void load_weights(const std::string&, Model<T>&);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
