// What a model is called elsewhere: the architectures of Hugging Face transformers that a model can
// be exactly, and which of their tensors is which of ours. Export and import read the same table.
#pragma once

#include <string>
#include <vector>

#include "tensors.h"

namespace peri {

// One of their tensors, by our names; all names without ".weight".
struct HfName {
    std::vector<std::string> ours;  // several: one above the other
    std::string theirs;
    // Their RoPE turns neighbours, (x[2i], x[2i + 1]), where ours turns (x[i], x[i + D/2]): the
    // rows of each head go in the order 0, D/2, 1, D/2 + 1, ...
    bool interleaved = false;
};

struct HfArchitecture {
    const char *name, *class_name, *model_type;
    const char* norm;           // the placement that it becomes
    std::vector<HfName> layer;  // the tensors of each, after "layers.N."; none: all as ours
    bool ours() const { return layer.empty(); }
};

// llama, glm4, olmo2, and ours, peri, which is every model.
const std::vector<HfArchitecture>& hf_architectures();

// The one of --export-as; auto: the first that is exact. Throws UserError where the model cannot be
// it exactly, naming one that it can be.
const HfArchitecture& hf_architecture(const std::string& wanted, const ModelConfig& config);

// All of its tensors, in file order.
struct HfTensor {
    std::string name;
    std::vector<int> ours;  // rows of the tensor table
    bool interleaved;
};
std::vector<HfTensor> hf_tensors(const HfArchitecture& architecture, const ModelConfig& config);

// Its shape, and which row of ours each of its rows is (of a vector, row 0); D: the size of a head.
struct HfRow {
    int id, row;
};
std::vector<size_t> hf_shape(const HfTensor& tensor, const TensorTable& table);
std::vector<HfRow> hf_rows(const HfTensor& tensor, const TensorTable& table, int D);

}  // namespace peri
