#include "store/checkpoint.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>

#include "check.h"
#include "comm.h"
#include "number.h"
#include "open_file.h"
#include "store/safetensors.h"

namespace peri {

namespace fs = std::filesystem;

namespace {

template <class Number>
const char* const dtype_of = "";
template <>
const char* const dtype_of<float> = "F32";
template <>
const char* const dtype_of<bf16> = "BF16";
template <>
const char* const dtype_of<fp16> = "F16";

std::vector<size_t> shape_of(const Tensor& tensor) {
    if (tensor.is_matrix()) return {size_t(tensor.rows), size_t(tensor.cols)};
    return {size_t(tensor.cols)};
}

// ---- writing ------------------------------------------------------------------------------------

// Copies numbers from the device and appends them to the file.
template <class Real, class Number>
void write(SafetensorsWriter& file, const Number* device, size_t n) {
    std::vector<Number> numbers(n);
    device_download<Real>(numbers.data(), device, n * sizeof(Number));
    file.write(numbers.data());
}

template <class Real>
void write_weights(const std::string& path, const Model<Real>& model, const Metadata& metadata) {
    std::vector<TensorInfo> tensors;
    for (const Tensor& tensor : model.table().rows)
        tensors.push_back({tensor.name, tensor.is_matrix() ? dtype_of<Real> : dtype_of<Accum<Real>>,
                           shape_of(tensor)});
    SafetensorsWriter file(path, tensors, metadata);
    for (int id = 0; id < static_cast<int>(tensors.size()); id++) {
        const size_t n = model.table().rows[id].size();
        model.visit(id, [&](const auto* numbers) { write<Real>(file, numbers, n); });
    }
    file.close();
}

template <class Real>
void write_state(const std::string& path, const Model<Real>& model,
                 const Optimizer<Real>& optimizer, const Metadata& metadata) {
    const auto state = optimizer.state();
    std::vector<TensorInfo> tensors;
    for (const auto& part : state)
        tensors.push_back(
            {part.name, dtype_of<Accum<Real>>, shape_of(model.table().rows[part.id])});
    std::optional<SafetensorsWriter> file;  // of the first process: the others send it their parts
    if (comm::rank() == 0) file.emplace(path, tensors, metadata);
    for (const auto& part : state) {
        comm::Bounds bytes = part.bounds;
        for (size_t& bound : bytes) bound *= sizeof(Accum<Real>);
        const std::vector<char> numbers = comm::gather<Real>(part.numbers, bytes);
        if (file) file->write(numbers.data());
    }
    if (file) file->close();
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
        if (!found || found->shape != tensor.shape)
            throw UserError(path + ": is of another model (tensor '" + tensor.name + "')");
        if (found->dtype != tensor.dtype)
            throw UserError(path + ": is of another --precision (tensor '" + tensor.name + "' is " +
                            found->dtype + "): give that of its run, or its directory to " +
                            "--init-from to start from its weights");
    }
    if (file.tensors().size() != expected.size())
        throw UserError(path + ": is of another model or --optimizer (it has more tensors)");
}

// Numbers first .. first + n of a tensor of `all`.
template <class Real, class Number>
void read(const SafetensorsFile& file, const std::string& name, Number* device, size_t all,
          size_t first, size_t n) {
    std::vector<Number> numbers(all);
    file.read(*file.find(name), numbers.data());
    device_upload<Real>(device, numbers.data() + first, n * sizeof(Number));
}

// A whole number of the file's metadata, from `lowest` to int's end.
int noted_number(const SafetensorsFile& file, const std::string& path, const char* key,
                 int lowest) {
    const auto entry = file.metadata().find(key);
    if (entry == file.metadata().end()) throw UserError(path + ": does not say its " + key);
    double value = 0;
    if (!parse_number(value, entry->second) || value != std::floor(value) || value < lowest ||
        value > INT_MAX)
        throw UserError(path + ": its " + key + " is no whole number from " +
                        std::to_string(lowest) + " ('" + one_line(entry->second) +
                        "'): fetch the file again, or use another checkpoint");
    return static_cast<int>(value);
}

}  // namespace

// ---- checkpoints --------------------------------------------------------------------------------

namespace {

// What stays though it should go does no harm.
void remove(const std::string& path) {
    std::error_code ignored;
    fs::remove_all(path, ignored);
}

// Puts OUT/name there, with `texts`, in place of one that is not whole.
void save_directory(const std::string& out, const std::string& name, const TextFiles& texts,
                    const std::function<void(const std::string&)>& write) {
    remove(out + "/" + name);
    make_directory_durably(out + "/" + name, out + "/unfinished", [&](const std::string& beside) {
        write(beside);
        for (const auto& [text_name, text] : texts) save_durably(beside + "/" + text_name, text);
    });
}

// All but the newest, and for each checkpoint the newest of its past.
void remove_needless_bests(const std::string& out) {
    const std::vector<SavedStep> bests = saved_bests(out);
    std::set<int64_t> needed;
    const auto need = [&](int64_t start) {
        const auto best = std::ranges::find_if(bests, [&](auto& b) { return b.step <= start; });
        if (best != bests.end()) needed.insert(best->step);
    };
    need(INT64_MAX);
    for (const SavedStep& checkpoint : saved_steps(out)) need(checkpoint.step);
    for (const SavedStep& best : bests)
        if (!needed.contains(best.step)) remove(best.path);
}

template <class Real>
Metadata metadata_of(const Model<Real>& model, int64_t step) {
    return {{"step", std::to_string(step)}, {"vocab", std::to_string(model.config().vocab)}};
}

constexpr const char* loss_scale_key = "loss_scale";  // "65536 2000 12 3", as LossScale has them

template <class Real>
void note_loss_scale(Metadata& metadata, const Model<Real>& model) {
    if (!model.device_loss_scale()) return;
    const LossScale s = model.loss_scale();
    char text[80];
    std::snprintf(text, sizeof text, "%.9g %d %d %d", s.scale, s.grows_after, s.good, s.skipped);
    metadata[loss_scale_key] = text;
}

// What was noted. The scale itself only where it is dynamic as then; updates that were skipped always.
template <class Real>
void read_loss_scale(const SafetensorsFile& state, const std::string& path, Model<Real>& model) {
    const auto noted = state.metadata().find(loss_scale_key);
    if (noted == state.metadata().end() || !model.device_loss_scale()) return;
    LossScale s = model.loss_scale();
    const LossScale asked = s;
    if (std::sscanf(noted->second.c_str(), "%f %d %d %d", &s.scale, &s.grows_after, &s.good,
                    &s.skipped) != 4 ||
        !(s.scale > 0 && std::isfinite(s.scale)) || s.good < 0 || s.skipped < 0)
        throw UserError(path + ": its loss scale is no such thing ('" + noted->second + "')");
    const bool goes_on = asked.grows_after > 0 && s.grows_after == asked.grows_after;
    model.set_loss_scale(goes_on ? s : LossScale{asked.scale, asked.grows_after, 0, s.skipped});
}

}  // namespace

template <class Real>
void save_checkpoint(const std::string& out, const Model<Real>& model,
                     const Optimizer<Real>& optimizer, const TextFiles& texts, int keep) {
    const std::string name = step_name(optimizer.steps()), place = out + "/" + name;
    const bool first = comm::rank() == 0;
    if (comm::largest(first && is_whole(place + "/model.safetensors") &&
                      is_whole(place + "/optimizer.safetensors")) > 0)
        return;
    const Metadata metadata = metadata_of(model, optimizer.steps());
    Metadata of_state = metadata;
    note_loss_scale(of_state, model);
    if (!first) return write_state("", model, optimizer, of_state);
    save_directory(out, name, texts, [&](const std::string& directory) {
        write_weights(directory + "/model.safetensors", model, metadata);
        write_state(directory + "/optimizer.safetensors", model, optimizer, of_state);
    });
    const std::vector<SavedStep> all = saved_steps(out);
    for (size_t i = keep ? keep : all.size(); i < all.size(); i++) remove(all[i].path);
    remove_needless_bests(out);
}

template <class Real>
void save_best(const std::string& out, const Model<Real>& model, int64_t step,
               const TextFiles& texts) {
    const std::string name = best_name(step);
    if (is_whole(out + "/" + name + "/model.safetensors")) return;
    save_directory(out, name, texts, [&](const std::string& directory) {
        write_weights(directory + "/model.safetensors", model, metadata_of(model, step));
    });
    remove_needless_bests(out);
}

template <class Real>
void load_checkpoint(const std::string& path, Model<Real>& model, Optimizer<Real>& optimizer) {
    const std::string weights_path = path + "/model.safetensors";
    const std::string state_path = path + "/optimizer.safetensors";
    if (is_there(weights_path) && !is_there(state_path))
        throw UserError(path +
                        ": holds weights alone, and a run needs its optimizer's state to go on: "
                        "start a new one from them by --init-from " +
                        path);
    const SafetensorsFile weights(weights_path), state(state_path);
    const TensorTable& table = model.table();
    std::vector<TensorInfo> expected;
    for (const Tensor& tensor : table.rows)
        expected.push_back({tensor.name,
                            tensor.is_matrix() ? dtype_of<Real> : dtype_of<Accum<Real>>,
                            shape_of(tensor)});
    check_tensors(weights, weights_path, expected);
    expected.clear();
    for (const auto& part : optimizer.state())
        expected.push_back({part.name, dtype_of<Accum<Real>>, shape_of(table.rows[part.id])});
    check_tensors(state, state_path, expected);
    const int step = noted_number(weights, weights_path, "step", 0);
    if (step != noted_number(state, state_path, "step", 0))
        throw UserError(path + ": its two files are of different steps");

    for (int id = 0; id < static_cast<int>(table.rows.size()); id++) {
        const Tensor& tensor = table.rows[id];
        model.visit(id, [&](auto* numbers) {
            read<Real>(weights, tensor.name, numbers, tensor.size(), 0, tensor.size());
        });
    }
    for (const auto& part : optimizer.state()) {
        const size_t first = part.bounds[comm::rank()], end = part.bounds[comm::rank() + 1];
        if (end > first)
            read<Real>(state, part.name, part.numbers, table.rows[part.id].size(), first,
                       end - first);
    }
    optimizer.set_steps(step);
    read_loss_scale(state, state_path, model);
}

// ---- weights alone ------------------------------------------------------------------------------

SavedWeights::SavedWeights(const std::string& path)
    : path_(is_directory(path) ? path + "/model.safetensors" : path), file_(path_) {}

int SavedWeights::vocab() const {
    if (file_.metadata().contains("vocab")) return noted_number(file_, path_, "vocab", 1);
    const TensorInfo* const embedding = file_.find("embedding.weight");
    if (!embedding || embedding->shape.size() != 2)
        throw UserError(path_ +
                        ": has no matrix 'embedding.weight': give weights that this program saved");
    return static_cast<int>(embedding->shape[0]);
}

const TensorInfo& SavedWeights::find(const Tensor& tensor) const {
    const TensorInfo* const found = file_.find(tensor.name);
    if (!found || found->shape != shape_of(tensor))
        throw UserError(path_ + ": has no tensor '" + tensor.name +
                        "' of this model's shape: give the flags that it was trained with");
    return *found;
}

void SavedWeights::require_no_others(const TensorTable& table) const {
    std::set<std::string> known;
    for (const Tensor& tensor : table.rows) known.insert(tensor.name);
    for (const TensorInfo& tensor : file_.tensors())
        if (!known.contains(tensor.name))
            throw UserError(path_ + ": has a tensor '" + one_line(tensor.name) +
                            "', which this model has not: give the flags that it was trained with");
}

std::vector<double> SavedWeights::values(const Tensor& tensor) const {
    const TensorInfo& found = find(tensor);
    std::vector<char> bytes(found.bytes());
    file_.read(found, bytes.data());
    const auto as = [&]<class Number>(Number) {
        std::vector<Number> numbers(bytes.size() / sizeof(Number));
        std::memcpy(numbers.data(), bytes.data(), bytes.size());
        return std::vector<double>(numbers.begin(), numbers.end());
    };
    if (found.dtype == "F64") return as(double());
    if (found.dtype == "F32") return as(float());
    if (found.dtype == "F16") return as(fp16());
    if (found.dtype == "BF16") return as(bf16(0));
    throw UserError(path_ + ": tensor '" + found.name + "' is " + found.dtype +
                    ": F64, F32, F16 and BF16 can be read");
}

int saved_vocab(const std::string& path) { return SavedWeights(path).vocab(); }

template <class Real>
void load_weights(const std::string& path, Model<Real>& model) {
    const SavedWeights weights(path);
    weights.require_no_others(model.table());
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        model.set_values(id, weights.values(model.table().rows[id]));
}

#define INSTANTIATE(Real)                                                                         \
    template void save_checkpoint(const std::string&, const Model<Real>&, const Optimizer<Real>&, \
                                  const TextFiles&, int);                                         \
    template void save_best(const std::string&, const Model<Real>&, int64_t, const TextFiles&);   \
    template void load_checkpoint(const std::string&, Model<Real>&, Optimizer<Real>&);            \
    template void load_weights(const std::string&, Model<Real>&);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
