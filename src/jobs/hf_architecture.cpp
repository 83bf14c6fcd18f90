#include "jobs/hf_architecture.h"

#include <algorithm>
#include <map>
#include <set>

#include "check.h"
#include "json.h"

namespace peri {

// Their norms are named after what comes before them: post_attention_layernorm is the norm before
// the MLP in Llama and Glm4, and the one behind attention in Olmo2.
const std::vector<HfArchitecture>& hf_architectures() {
    static const std::vector<HfArchitecture> table = {
        {"llama",
         "LlamaForCausalLM",
         "llama",
         "pre",
         {{{"attention.input_norm"}, "input_layernorm"},
          {{"attention.q"}, "self_attn.q_proj"},
          {{"attention.k"}, "self_attn.k_proj"},
          {{"attention.v"}, "self_attn.v_proj"},
          {{"attention.o"}, "self_attn.o_proj"},
          {{"mlp.input_norm"}, "post_attention_layernorm"},
          {{"mlp.gate"}, "mlp.gate_proj"},
          {{"mlp.up"}, "mlp.up_proj"},
          {{"mlp.down"}, "mlp.down_proj"}}},
        {"glm4",
         "Glm4ForCausalLM",
         "glm4",
         "peri",
         {{{"attention.input_norm"}, "input_layernorm"},
          {{"attention.q"}, "self_attn.q_proj", true},
          {{"attention.k"}, "self_attn.k_proj", true},
          {{"attention.v"}, "self_attn.v_proj"},
          {{"attention.o"}, "self_attn.o_proj"},
          {{"attention.output_norm"}, "post_self_attn_layernorm"},
          {{"mlp.input_norm"}, "post_attention_layernorm"},
          {{"mlp.gate", "mlp.up"}, "mlp.gate_up_proj"},
          {{"mlp.down"}, "mlp.down_proj"},
          {{"mlp.output_norm"}, "post_mlp_layernorm"}}},
        {"olmo2",
         "Olmo2ForCausalLM",
         "olmo2",
         "olmo2",
         {{{"attention.q"}, "self_attn.q_proj"},
          {{"attention.k"}, "self_attn.k_proj"},
          {{"attention.v"}, "self_attn.v_proj"},
          {{"attention.q_norm"}, "self_attn.q_norm"},
          {{"attention.k_norm"}, "self_attn.k_norm"},
          {{"attention.o"}, "self_attn.o_proj"},
          {{"attention.output_norm"}, "post_attention_layernorm"},
          {{"mlp.gate"}, "mlp.gate_proj"},
          {{"mlp.up"}, "mlp.up_proj"},
          {{"mlp.down"}, "mlp.down_proj"},
          {{"mlp.output_norm"}, "post_feedforward_layernorm"}}},
        {"peri", "PeriForCausalLM", "peri", "", {}},
    };
    return table;
}

namespace {

// All tensors of one that is not ours. It knows no embedding norm, which acts on each row of the
// table alone: the export applies it to the table.
std::vector<HfName> all_names(const HfArchitecture& architecture, int layers) {
    std::vector<HfName> all = {{{"embedding"}, "model.embed_tokens"}};
    for (int i = 0; i < layers; i++)
        for (HfName name : architecture.layer) {
            const std::string layer = "layers." + std::to_string(i) + ".";
            for (std::string& ours : name.ours) ours = layer + ours;
            name.theirs = "model." + layer + name.theirs;
            all.push_back(name);
        }
    all.push_back({{"final_norm"}, "model.norm"});
    all.push_back({{"head"}, "lm_head"});
    return all;
}

// Why the architecture is not exactly this model; "" if it is.
std::string misfit(const HfArchitecture& architecture, const ModelConfig& c) {
    if (architecture.ours()) return "";
    const TensorTable table = tensor_table(c);
    std::set<std::string> ours, known = {"embedding_norm.weight"};
    for (const Tensor& tensor : table.rows) ours.insert(tensor.name);
    for (const HfName& name : all_names(architecture, c.layers))
        for (const std::string& part : name.ours) known.insert(part + ".weight");
    for (const Tensor& tensor : table.rows)
        if (!known.contains(tensor.name)) return "it has no place for '" + tensor.name + "'";
    for (const std::string& name : known)
        if (!ours.contains(name) && name != "embedding_norm.weight")
            return "it needs '" + name + "', which this model does not have";
    const std::vector<SubLayer> all = sublayers(c.placement);
    for (size_t s = 0; s < all.size(); s++) {
        if (all[s].alpha != 1) return "its residual stream has no weight alpha";
        const NormIds norm = table.sublayers[s].q_norm;
        if (norm && table.rows[norm.gamma].cols != c.width)
            return "it has norms of all heads' queries together, this model of each head's";
    }
    return "";
}

}  // namespace

const HfArchitecture& hf_architecture(const std::string& wanted, const ModelConfig& config) {
    const std::vector<HfArchitecture>& all = hf_architectures();
    const auto exact =
        std::ranges::find_if(all, [&](const auto& a) { return misfit(a, config).empty(); });
    if (wanted == "auto") return *exact;
    const auto chosen = std::ranges::find_if(all, [&](const auto& a) { return wanted == a.name; });
    if (chosen == all.end())
        throw UserError("--export-as " + wanted + ": choose auto, llama, glm4, olmo2 or peri");
    if (const std::string why = misfit(*chosen, config); !why.empty())
        throw UserError("--export-as " + wanted + ": " + chosen->class_name +
                        " is not exactly this model (" + why + "): choose " + exact->name);
    return *chosen;
}

std::vector<HfTensor> hf_tensors(const HfArchitecture& architecture, const ModelConfig& config) {
    const std::vector<Tensor> rows = tensor_table(config).rows;
    std::map<std::string, int> ids;
    std::vector<HfTensor> tensors;
    for (int id = 0; id < static_cast<int>(rows.size()); id++) {
        ids[rows[id].name] = id;
        if (architecture.ours()) tensors.push_back({rows[id].name, {id}, false});
    }
    if (architecture.ours()) return tensors;
    for (const HfName& name : all_names(architecture, config.layers)) {
        HfTensor tensor = {name.theirs + ".weight", {}, name.interleaved};
        for (const std::string& ours : name.ours) tensor.ours.push_back(ids.at(ours + ".weight"));
        tensors.push_back(tensor);
    }
    return tensors;
}

namespace {

// The vocabulary's padding stays behind: elsewhere its logits would count.
int rows_there(const TensorTable& table, int id) {
    const bool padded = id == table.embedding || id == table.head;
    return padded ? table.vocab : std::max(1, table.rows[id].rows);
}

}  // namespace

std::vector<size_t> hf_shape(const HfTensor& tensor, const TensorTable& table) {
    const Tensor& first = table.rows[tensor.ours[0]];
    if (!first.is_matrix()) return {size_t(first.cols)};
    size_t rows = 0;
    for (const int id : tensor.ours) rows += rows_there(table, id);
    return {rows, size_t(first.cols)};
}

std::vector<HfRow> hf_rows(const HfTensor& tensor, const TensorTable& table, int D) {
    std::vector<HfRow> rows;
    for (const int id : tensor.ours)
        for (int row = 0; row < rows_there(table, id); row++) {
            const int i = row % D;  // in its head
            rows.push_back({id, tensor.interleaved ? row - i + i / 2 + i % 2 * (D / 2) : row});
        }
    return rows;
}

}  // namespace peri
