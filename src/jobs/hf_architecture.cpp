#include "jobs/hf_architecture.h"

#include <algorithm>
#include <map>
#include <set>

#include "check.h"
#include "json.h"

namespace peri {

using Json = nlohmann::ordered_json;

// Their norms are named after what comes before them: post_attention_layernorm is the norm before
// the MLP in Llama and Glm4, and the one behind attention in Olmo2.
const std::vector<HfArchitecture>& hf_architectures() {
    static const std::vector<HfArchitecture> table = {
        {"llama",
         "LlamaForCausalLM",
         "llama",
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
        {"peri", "PeriForCausalLM", "peri", {}},
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

// ---- config.json --------------------------------------------------------------------------------

namespace {

// null where there is none: the libraries' own defaults are tokens of other vocabularies
void add_special_tokens(Json& json, int vocab) {
    const int end = end_of_text(vocab);
    for (const char* token : {"bos_token_id", "eos_token_id", "pad_token_id"})
        json[token] = end < 0 ? Json() : Json(end);
}

// The table of placements, a row a sub-layer (data/hf/configuration_peri.py).
Json sublayer_rows(const ModelConfig& c) {
    Json rows = Json::array();
    for (const SubLayer& s : sublayers(c.placement))
        rows.push_back({{"A", s.input_norm},
                        {"B", s.output_norm},
                        {"C", s.main_norm},
                        {"alpha", s.alpha},
                        {"qk", s.attention ? word_for(s.qk, qk_norms()) : "none"},
                        {"inner", s.inner}});
    return rows;
}

void add_ours(Json& json, const ModelConfig& c) {
    json["norm_eps"] = c.norm_eps;
    json["layernorm"] = c.layernorm;
    json["embedding_norm"] = c.embedding_norm;
    json["final_norm"] = c.final_norm;
    json["sublayers"] = sublayer_rows(c);
    json["auto_map"] = {{"AutoConfig", "configuration_peri.PeriConfig"},
                        {"AutoModelForCausalLM", "modeling_peri.PeriForCausalLM"}};
}

void add_theirs(Json& json, const HfArchitecture& architecture, const ModelConfig& c) {
    json["rms_norm_eps"] = c.norm_eps;
    json["head_dim"] = c.head_size();
    json["hidden_act"] = "silu";
    json["attention_bias"] = false;
    json["attention_dropout"] = 0.0;
    // newer releases read rope_parameters, older ones and other programs rope_theta
    json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", c.rope_base}};
    if (std::string(architecture.name) == "llama") json["mlp_bias"] = false;
    if (std::string(architecture.name) == "glm4")
        json["partial_rotary_factor"] = json["rope_parameters"]["partial_rotary_factor"] = 1.0;
}

}  // namespace

std::string hf_config(const HfArchitecture& architecture, const ModelConfig& c, int seq,
                      const std::string& dtype) {
    Json json;
    json["architectures"] = Json::array({architecture.class_name});
    json["model_type"] = architecture.model_type;
    json["torch_dtype"] = dtype;
    json["vocab_size"] = c.vocab;
    json["hidden_size"] = c.width;
    json["intermediate_size"] = c.ffn;
    json["num_hidden_layers"] = c.layers;
    json["num_attention_heads"] = c.heads;
    json["num_key_value_heads"] = c.kv_heads;
    json["max_position_embeddings"] = seq;
    json["rope_theta"] = c.rope_base;
    json["tie_word_embeddings"] = false;
    add_special_tokens(json, c.vocab);
    if (architecture.ours())
        add_ours(json, c);
    else
        add_theirs(json, architecture, c);
    return json.dump(2) + "\n";
}

std::string hf_generation_config(int vocab) {
    Json json = Json::object();
    add_special_tokens(json, vocab);
    return json.dump(2) + "\n";
}

}  // namespace peri
