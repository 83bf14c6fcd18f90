#include "jobs/import_hf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "check.h"
#include "device.h"
#include "jobs/hf_architecture.h"
#include "jobs/hf_config.h"
#include "open_file.h"
#include "store/checkpoint.h"

namespace peri {

namespace fs = std::filesystem;

namespace {

constexpr size_t longest_headers =
    100'000'000;  // of all files together: the format's limit for one

// ---- files --------------------------------------------------------------------------------------

// A file of the directory, which no link leads out of.
std::string inside(const std::string& directory, const std::string& name) {
    if (leads_out(name, fs::absolute(directory)))
        throw UserError(
            directory + "/" + name +
            ": leads out of the directory: put a copy of that file there (cp -rL copies "
            "a directory of links)");
    return directory + "/" + name;
}

// Where the weights are.
std::vector<std::string> weight_files(const std::string& directory) {
    const std::string one = "model.safetensors", many = one + ".index.json";
    if (is_there(directory + "/" + one)) return {inside(directory, one)};
    if (!is_there(directory + "/" + many))
        throw UserError("--import-hf " + directory + ": holds neither " + one + " nor " + many +
                        ": name a model's directory whose weights are safetensors");
    const std::string index = inside(directory, many);
    std::vector<std::string> files;
    for (const std::string& name : read_hf_index(index)) {
        if (name.empty() || name != fs::path(name).filename())
            throw UserError(index + ": names '" + name +
                            "', which is no file beside it: fetch the file again");
        files.push_back(inside(directory, name));
    }
    return files;
}

template <class Number>
bool are_finite(const std::vector<char>& bytes) {
    for (size_t at = 0; at < bytes.size(); at += sizeof(Number)) {
        Number number;
        std::memcpy(&number, &bytes[at], sizeof number);
        if (!std::isfinite(float(number))) return false;
    }
    return true;
}

// ---- a model on its way in ----------------------------------------------------------------------

class Import {
  public:
    explicit Import(const std::string& directory)
        : model(read_hf_config(inside(directory, "config.json"))), directory_(directory) {
        if (model.tied) tensors_.back().name = tensors_.front().name;  // the head, the embedding
        for (size_t i = 0; i < tensors_.size(); i++)
            for (const int id : tensors_[i].ours) from_[id] = i;
        for (const HfTensor& tensor : tensors_) expected_[tensor.name] = {&tensor, {}, 0};
        files_.reserve(expected_.size());
        size_t headers = 0;
        for (const std::string& path : weight_files(directory)) {
            if (files_.size() == expected_.size())
                throw UserError(directory +
                                ": has more files of weights than tensors: fetch it again");
            add_file(path, headers);
        }
        for (const auto& [name, found] : expected_)
            if (found.info.name.empty())
                throw UserError("--import-hf " + directory +
                                ": none of its files has the tensor '" + name +
                                "', which its config.json asks for: fetch all of them again");
        check_memory();
    }

    void write(const std::string& path) const {
        std::vector<TensorInfo> infos;
        for (const Tensor& row : table.rows) {
            const std::string& dtype = source(row).info.dtype;
            infos.push_back({row.name, dtype, {size_t(row.cols)}});
            if (row.is_matrix()) infos.back().shape.insert(infos.back().shape.begin(), row.rows);
        }
        SafetensorsWriter file(path, infos, {{"vocab", std::to_string(model.config.vocab)}});
        for (const Tensor& row : table.rows) file.write(numbers(row).data());
        file.close();
    }

    const HfModel model;
    const TensorTable table = tensor_table(model.config);
    size_t tensors() const { return expected_.size(); }
    size_t files() const { return files_.size(); }

  private:
    struct Source {
        const HfTensor* tensor;
        TensorInfo info;  // no name: not found yet
        size_t file;
    };

    void add_file(const std::string& path, size_t& headers) {
        files_.emplace_back(path, SafetensorsFile(path));
        const SafetensorsFile& file = files_.back().second;
        if ((headers += file.header_bytes()) > longest_headers)
            throw UserError(path +
                            ": its header and those before are longer than 100 MB: fetch the " +
                            "files again");
        for (const TensorInfo& info : file.tensors()) {
            // the angles of RoPE, which older files hold and no program reads
            if (info.name.ends_with(".rotary_emb.inv_freq")) continue;
            const auto wrong = [&](const std::string& why) {
                return UserError(path + ": tensor '" + info.name + "' " + why);
            };
            const auto found = expected_.find(info.name);
            if (found == expected_.end())
                throw wrong("is none of a " + std::string(model.architecture->class_name) +
                            " with this config.json: import a model without it");
            if (!found->second.info.name.empty())
                throw wrong("is in an earlier file too: fetch the files again");
            if (info.shape != hf_shape(*found->second.tensor, table))
                throw wrong("has another shape than config.json says: fetch both again");
            if (info.dtype != "F32" && info.dtype != "BF16" && info.dtype != "F16")
                throw wrong("is " + info.dtype + ": import a model of F32, BF16 or F16");
            found->second.info = info;
            found->second.file = files_.size() - 1;
        }
    }

    // One of theirs is in memory at a time, and one of ours.
    void check_memory() const {
        size_t largest = 0;
        for (const auto& [name, found] : expected_) largest = std::max(largest, found.info.bytes());
        const size_t left = device_memory_left<double>();
        if (left && largest > left / 2)
            throw UserError("--import-hf " + directory_ + ": its largest tensor takes twice " +
                            std::to_string(largest >> 20) + " MiB, and " +
                            std::to_string(left >> 20) +
                            " MiB are left: import it on a machine with "
                            "more memory");
    }

    const Source& source(const Tensor& row) const {
        const int id = static_cast<int>(&row - table.rows.data());
        return expected_.at(tensors_[from_.at(id)].name);
    }

    std::vector<char> read(const Source& from) const {
        const auto& [path, file] = files_[from.file];
        std::vector<char> bytes(from.info.bytes());
        file.read(from.info, bytes.data());
        const std::string& dtype = from.info.dtype;
        if (!(dtype == "F32"    ? are_finite<float>(bytes)
              : dtype == "BF16" ? are_finite<bf16>(bytes)
                                : are_finite<fp16>(bytes)))
            throw UserError(
                path + ": tensor '" + from.info.name +
                "' holds NaN or infinity: fetch the file again, or import another model");
        return bytes;
    }

    // Of one of ours, as theirs are stored; rows that pad the vocabulary are 0.
    std::vector<char> numbers(const Tensor& row) const {
        const int id = static_cast<int>(&row - table.rows.data());
        const Source& from = source(row);
        const std::vector<char> theirs = read(from);
        const size_t bytes = row.cols * dtype_bytes(from.info.dtype);
        std::vector<char> ours(row.size() * dtype_bytes(from.info.dtype));
        const char* next = theirs.data();
        for (const HfRow& r : hf_rows(tensors_[from_.at(id)], table, model.config.head_size())) {
            if (r.id == id) std::memcpy(ours.data() + r.row * bytes, next, bytes);
            next += bytes;
        }
        return ours;
    }

    const std::string directory_;
    std::vector<HfTensor> tensors_ = hf_tensors(*model.architecture, model.config);
    std::map<int, size_t> from_;  // in which of them each of ours is
    std::map<std::string, Source> expected_;
    std::vector<std::pair<std::string, SafetensorsFile>> files_;
};

std::string summary(const Import& import, const RunConfig& run) {
    const ModelConfig& c = import.model.config;
    const size_t files = import.files();
    return "imported    " + run.import_hf + ": " + import.model.architecture->class_name + ", " +
           std::to_string(import.tensors()) + " tensors in " + std::to_string(files) +
           (files > 1 ? " files" : " file") +
           (import.model.tied ? ", the head a copy of the embedding" : "") + "\nweights     " +
           run.out + ": --norm " + c.norm + ", " + std::to_string(import.table.parameters()) +
           " parameters\nlook at it  ./train --evaluate "
           "--init-from " +
           run.out + " --data " + (c.vocab == 256 ? "TEXT" : "'SHARDS/*.bin'") + " --seq " +
           std::to_string(std::min(import.model.seq, 512)) + " --out DIR\n";
}

}  // namespace

std::string import_hf(const RunConfig& run) {
    if (!is_directory(run.import_hf))
        throw UserError("--import-hf " + run.import_hf +
                        ": is no directory: name that of a model of Hugging Face transformers");
    const Import import(run.import_hf);
    const std::string place = new_place("out", run.out);
    make_directory_durably(place, place + ".unfinished", [&](const std::string& beside) {
        import.write(beside + "/model.safetensors");
        save_durably(beside + "/config.json", hf_settings(import.model));
    });
    return summary(import, run);
}

}  // namespace peri
