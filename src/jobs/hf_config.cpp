#include "jobs/hf_config.h"

#include <cstdio>
#include <map>

#include "check.h"
#include "json.h"
#include "run/flags.h"
#include "store/files.h"

namespace peri {

using Json = nlohmann::ordered_json;

namespace {

// A size: their key, our flag.
struct Count {
    const char *theirs, *flag;
    int ModelConfig::*number;
};
const std::vector<Count>& counts() {
    static const std::vector<Count> table = {
        {"vocab_size", "vocab", &ModelConfig::vocab},
        {"hidden_size", "width", &ModelConfig::width},
        {"intermediate_size", "ffn", &ModelConfig::ffn},
        {"num_hidden_layers", "layers", &ModelConfig::layers},
        {"num_attention_heads", "heads", &ModelConfig::heads},
        {"num_key_value_heads", "kv-heads", &ModelConfig::kv_heads},
    };
    return table;
}

// What is so in every model of ours, and in theirs where they do not say it (of Glm4's biases its tensors tell); told:
// the architectures that are told it.
struct Fixed {
    const char* key;
    Json value;
    std::string told;
};
const std::vector<Fixed>& fixed() {
    static const std::vector<Fixed> table = {
        {"hidden_act", "silu", "llama glm4 olmo2"},
        {"attention_bias", false, "llama glm4 olmo2"},
        {"mlp_bias", false, "llama"},
        {"sliding_window", nullptr, ""},
        {"quantization_config", nullptr, ""},
    };
    return table;
}

// Whose RoPE turns half of each head, unless it is told to turn all.
bool turns_a_part(const HfArchitecture& architecture) {
    return std::string(architecture.name) == "glm4";
}

}  // namespace

// ---- written ------------------------------------------------------------------------------------

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
    for (const Fixed& f : fixed())
        if (f.told.find(architecture.name) != f.told.npos) json[f.key] = f.value;
    json["attention_dropout"] = 0.0;
    // newer releases read rope_parameters, older ones and other programs rope_theta
    json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", c.rope_base}};
    if (turns_a_part(architecture))
        json["partial_rotary_factor"] = json["rope_parameters"]["partial_rotary_factor"] = 1.0;
}

}  // namespace

std::string hf_config(const HfArchitecture& architecture, const ModelConfig& c, int seq,
                      const std::string& dtype) {
    Json json;
    json["architectures"] = Json::array({architecture.class_name});
    json["model_type"] = architecture.model_type;
    json["torch_dtype"] = dtype;
    for (const Count& count : counts()) json[count.theirs] = c.*count.number;
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

// ---- read ---------------------------------------------------------------------------------------

namespace {

Json read_object(const std::string& path) {
    try {
        const Json json = Json::parse(read_text(path, short_text));
        if (json.is_object()) return json;
    } catch (const Json::exception&) {
    }
    throw UserError(path + ": is no JSON object: fetch the file again");
}

class ConfigReader {
  public:
    explicit ConfigReader(const std::string& path) : path_(path), json_(read_object(path)) {}

    HfModel model() const {
        HfModel m = {&architecture(), {}, count("max_position_embeddings", "seq"), false};
        ModelConfig& c = m.config;
        c.norm = m.architecture->norm;
        for (const Count& k : counts())
            c.*k.number = k.number == &ModelConfig::kv_heads && !find(k.theirs)
                              ? c.heads
                              : count(k.theirs, k.flag);
        c.norm_eps = number("rms_norm_eps", get("rms_norm_eps"), "norm-eps");
        read_rope(c, *m.architecture);
        for (const Fixed& f : fixed())
            if (const Json* const value = find(f.key); value && *value != f.value)
                refuse(f.key, *value, "here it is always " + f.value.dump());
        if (const Json* const tied = find("tie_word_embeddings")) {
            if (!tied->is_boolean()) refuse("tie_word_embeddings", *tied, "make it true or false");
            m.tied = *tied;
        }
        try {
            resolve(c, "auto", Choice::off, Choice::on);
        } catch (const UserError& e) {
            throw UserError(path_ + ": no model here has its sizes (" + e.what() + ")");
        }
        if (const Json* const size = find("head_dim"); size && *size != c.head_size())
            refuse("head_dim", *size,
                   "here it is always hidden_size / num_attention_heads, " +
                       std::to_string(c.head_size()));
        return m;
    }

  private:
    [[noreturn]] void refuse(const std::string& key, const Json& value,
                             const std::string& why) const {
        std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
        if (text.size() > 80) text = text.substr(0, 80) + "...";
        throw UserError(path_ + ": \"" + key + "\" is " + text + ", and " + why +
                        ": import a model of which that is true");
    }

    // null where it is not there, or null
    const Json* find(const std::string& key) const { return find(json_, key); }
    static const Json* find(const Json& in, const std::string& key) {
        const auto found = in.find(key);
        return found == in.end() || found->is_null() ? nullptr : &*found;
    }
    const Json& get(const std::string& key) const {
        if (const Json* const value = find(key)) return *value;
        throw UserError(path_ + ": has no \"" + key + "\": fetch the file again");
    }

    // Within the range of our flag.
    double number(const std::string& key, const Json& value, const char* flag) const {
        const auto [lowest, highest] = range_of(flag);
        if (value.is_number() && value >= lowest && value <= highest) return value;
        char range[80];
        std::snprintf(range, sizeof range, "here it is a number from %g to %g", lowest, highest);
        refuse(key, value, range);
    }
    int count(const std::string& key, const char* flag) const {
        const Json& value = get(key);
        if (!value.is_number_integer()) refuse(key, value, "here it is a whole number");
        return static_cast<int>(number(key, value, flag));
    }

    const HfArchitecture& architecture() const {
        std::string names;
        for (const HfArchitecture& a : hf_architectures()) {
            if (a.ours()) continue;
            if (get("model_type") == a.model_type) {
                const Json* const classes = find("architectures");
                const Json known = Json::array({a.class_name});
                if (classes && *classes != known)
                    refuse("architectures", *classes, "here it is always " + known.dump());
                return a;
            }
            names += (names.empty() ? "" : ", ") + std::string(a.model_type);
        }
        refuse("model_type", get("model_type"), "what can be imported is one of " + names);
    }

    // Newer releases have it in rope_parameters, older ones beside the other keys, and what changes
    // the angles in rope_scaling.
    void read_rope(ModelConfig& c, const HfArchitecture& a) const {
        static const char *const theta = "rope_theta", *const part = "partial_rotary_factor";
        const Json default_type = "default";
        std::map<std::string, Json> said;
        const auto read = [&](const Json& in) {
            for (const char* key : {theta, part}) {
                const Json* const value = find(in, key);
                if (value && !said.emplace(key, *value).second && said[key] != *value)
                    refuse(key, *value, "elsewhere in the file it is " + said[key].dump());
            }
        };
        for (const char* key : {"rope_parameters", "rope_scaling"}) {
            const Json* const rope = find(key);
            if (!rope) continue;
            for (const auto& [name, value] : rope->items())
                if (!(((name == "rope_type" || name == "type") && value == default_type) ||
                      (rope->is_object() && (name == theta || name == part))))
                    refuse(key, *rope, "here no angle is scaled");
            read(*rope);
        }
        read(json_);
        c.rope_base = said.contains(theta) ? number(theta, said[theta], "rope-base") : 10000;
        const Json turned = said.contains(part) ? said[part] : Json(turns_a_part(a) ? 0.5 : 1.0);
        if (turned != 1) refuse(part, turned, "here all of a head is turned");
    }

    std::string path_;
    Json json_;
};

}  // namespace

HfModel read_hf_config(const std::string& path) { return ConfigReader(path).model(); }

std::set<std::string> read_hf_index(const std::string& path) {
    const Json index = read_object(path), none = Json::object();
    const Json map = index.value("weight_map", none);
    std::set<std::string> files;
    for (const auto& [tensor, file] : map.items()) {
        if (!file.is_string())
            throw UserError(path + ": \"weight_map\" names no file for '" + tensor +
                            "': fetch the file again");
        files.insert(file.get<std::string>());
    }
    if (files.empty()) throw UserError(path + ": has no \"weight_map\": fetch the file again");
    return files;
}

std::string hf_settings(const HfModel& model) {
    const ModelConfig& c = model.config;
    Json json = {{"norm", c.norm}, {"embedding-norm", "off"}};
    for (const Count& count : counts()) json[count.flag] = c.*count.number;
    json["rope-base"] = c.rope_base;
    json["norm-eps"] = c.norm_eps;
    json["seq"] = model.seq;
    json["batch"] = 1;
    return json.dump(2) + "\n";
}

}  // namespace peri
