#include "jobs/export_hf.h"

#include <cmath>
#include <cstdio>
#include <map>

#include "check.h"
#include "data/embed.h"
#include "jobs/hf_architecture.h"
#include "jobs/hf_config.h"
#include "jobs/hf_tokenizer.h"
#include "json.h"
#include "store/checkpoint.h"

EMBED(peri_configuration_py, "hf/configuration_peri.py");
EMBED(peri_modeling_py, "hf/modeling_peri.py");

namespace peri {

namespace {

using Numbers = std::vector<double>;

// The embedding norm of every row of the table: E[t] -> gamma E[t] / sqrt(mean E[t]^2 + eps)
//   table (V, C)   gamma (C)
void fold_norm(Numbers& table, const Numbers& gamma, double eps) {
    const size_t C = gamma.size();
    for (size_t row = 0; row < table.size(); row += C) {
        double sum = 0;
        for (size_t c = 0; c < C; c++) sum += table[row + c] * table[row + c];
        const double rstd = 1 / std::sqrt(sum / static_cast<double>(C) + eps);
        for (size_t c = 0; c < C; c++) table[row + c] *= gamma[c] * rstd;
    }
}

// A model on its way out.
struct Export {
    const SavedWeights& weights;
    const ModelConfig& config;
    const HfArchitecture& architecture;
    ExportDtype dtype;
    TensorTable table = tensor_table(config);
    std::vector<HfTensor> tensors = hf_tensors(architecture, config);

    Numbers values(const HfTensor& tensor) const {
        std::map<int, Numbers> ours;
        for (const int id : tensor.ours) {
            ours[id] = weights.values(table.rows[id]);
            if (id == table.embedding && table.embedding_norm && !architecture.ours())
                fold_norm(ours[id], weights.values(table.rows[table.embedding_norm.gamma]),
                          config.norm_eps);
        }
        const int C = table.rows[tensor.ours[0]].cols;
        Numbers all;
        for (const HfRow& row : hf_rows(tensor, table, config.head_size())) {
            const auto from = ours[row.id].begin() + ptrdiff_t(row.row) * C;
            all.insert(all.end(), from, from + C);
        }
        return all;
    }

    TensorInfo info(const HfTensor& tensor) const {
        const Tensor& first = table.rows[tensor.ours[0]];
        const std::string& stored = weights.dtype(first);
        const bool narrow = stored == "BF16" || stored == "F16";
        TensorInfo info = {tensor.name, "F32", hf_shape(tensor, table)};
        if (dtype == ExportDtype::bf16) info.dtype = "BF16";
        if (dtype == ExportDtype::fp16) info.dtype = "F16";
        if (dtype == ExportDtype::stored && narrow) info.dtype = stored;
        return info;
    }
};

// ---- files --------------------------------------------------------------------------------------

size_t bytes_of(const TensorInfo& info) {
    size_t bytes = dtype_bytes(info.dtype);
    for (const size_t length : info.shape) bytes *= length;
    return bytes;
}

// Which tensors go into which file: in order, and as many as fit.
std::vector<std::vector<HfTensor>> parts_of(const Export& model, size_t part_bytes) {
    std::vector<std::vector<HfTensor>> parts;
    size_t bytes = 0;
    for (const HfTensor& tensor : model.tensors) {
        const size_t more = bytes_of(model.info(tensor));
        if (parts.empty() || bytes + more > part_bytes) {
            parts.emplace_back();
            bytes = 0;
        }
        parts.back().push_back(tensor);
        bytes += more;
    }
    return parts;
}

std::string part_name(size_t part, size_t parts) {
    if (parts == 1) return "model.safetensors";
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", part + 1, parts);
    return name;
}

// Writes the numbers as they are stored there, where all are finite.
template <class Number>
void write_as(SafetensorsWriter& file, const std::string& name, const Numbers& values) {
    std::vector<Number> stored(values.size());
    for (size_t i = 0; i < values.size(); i++) {
        stored[i] = Number(static_cast<float>(values[i]));
        if (std::isfinite(static_cast<double>(stored[i]))) continue;
        throw UserError("--export-hf: tensor '" + name + "' holds " + std::to_string(values[i]) +
                        (std::isfinite(values[i])
                             ? ", which is infinite in these numbers: give --export-dtype fp32"
                             : ": these weights have diverged, choose an earlier checkpoint"));
    }
    file.write(stored.data());
}

void write_part(const std::string& path, const Export& model, const std::vector<HfTensor>& part) {
    std::vector<TensorInfo> infos;
    for (const HfTensor& tensor : part) infos.push_back(model.info(tensor));
    SafetensorsWriter file(path, infos, {});
    for (size_t i = 0; i < part.size(); i++) {
        const Numbers values = model.values(part[i]);
        if (infos[i].dtype == "BF16")
            write_as<bf16>(file, part[i].name, values);
        else if (infos[i].dtype == "F16")
            write_as<fp16>(file, part[i].name, values);
        else
            write_as<float>(file, part[i].name, values);
    }
    file.close();
}

// Returns how many files there are.
size_t write_weights(const std::string& directory, const Export& model, size_t part_bytes) {
    const std::vector<std::vector<HfTensor>> parts = parts_of(model, part_bytes);
    nlohmann::ordered_json index;
    size_t bytes = 0;
    for (size_t i = 0; i < parts.size(); i++) {
        const std::string name = part_name(i, parts.size());
        write_part(directory + "/" + name, model, parts[i]);
        for (const HfTensor& tensor : parts[i]) {
            bytes += bytes_of(model.info(tensor));
            index["weight_map"][tensor.name] = name;
        }
    }
    index["metadata"]["total_size"] = bytes;
    if (parts.size() > 1)
        save_durably(directory + "/model.safetensors.index.json", index.dump(2) + "\n");
    return parts.size();
}

TextFiles text_files(const Export& model, int seq) {
    const int vocab = model.config.vocab;
    const std::string stored = model.info(model.tensors[0]).dtype;  // the embedding's
    const char* const dtype = stored == "BF16"  ? "bfloat16"
                              : stored == "F16" ? "float16"
                                                : "float32";
    TextFiles files = {{"config.json", hf_config(model.architecture, model.config, seq, dtype)},
                       {"generation_config.json", hf_generation_config(vocab)}};
    if (vocab == 256)
        for (const auto& file : hf_byte_tokenizer(seq)) files.push_back(file);
    if (model.architecture.ours()) {
        files.emplace_back("configuration_peri.py",
                           std::string(peri_configuration_py_begin, peri_configuration_py_end));
        files.emplace_back("modeling_peri.py",
                           std::string(peri_modeling_py_begin, peri_modeling_py_end));
    }
    return files;
}

std::string summary(const Export& model, const RunConfig& run, size_t files) {
    const std::string& directory = run.export_hf;
    const int vocab = model.config.vocab;
    const std::string tokenizer =
        vocab == 256 ? "bytes; 0 is <|endoftext|>"
        : vocab == 100277
            ? "none yet: python3 data/hf/tokenizer.py " + directory + " adds cl100k_base's"
            : "none: add the one that made the tokens, of " + std::to_string(vocab);
    const char* const trust = model.architecture.ours() ? ", trust_remote_code=True" : "";
    return "weights     " + run.init_from + "\nexported    " + directory + ": " +
           model.architecture.class_name + ", " + std::to_string(model.tensors.size()) +
           " tensors in " + std::to_string(files) + (files > 1 ? " files" : " file") +
           "\ntokenizer   " + tokenizer +
           (model.config.document_mask ? "\nattention   of one document at a time, as it was "
                                         "trained: elsewhere none is masked"
                                       : "") +
           "\nload it by  AutoModelForCausalLM.from_pretrained(\"" + directory + "\"" + trust +
           ")\n";
}

}  // namespace

std::string export_hf(const RunConfig& run, size_t part_bytes) {
    const std::string place = new_place("export-hf", run.export_hf);
    const SavedWeights weights(run.init_from);
    ModelConfig config = run.model;
    config.vocab = run.vocab ? run.vocab : weights.vocab();
    const Export model = {weights, config, hf_architecture(run.export_as, config),
                          run.export_dtype};
    weights.require_no_others(model.table);
    size_t files = 0;
    make_directory_durably(place, place + ".unfinished", [&](const std::string& beside) {
        files = write_weights(beside, model, part_bytes);
        for (const auto& [name, text] : text_files(model, run.seq))
            save_durably(beside + "/" + name, text);
    });
    return summary(model, run, files);
}

}  // namespace peri
