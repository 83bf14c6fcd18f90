// --import-hf, as far as it can be seen without Python: what --export-hf has written comes back, bit for bit, and what
// is not exactly a model of ours is one sentence. That models made elsewhere then compute the same is seen by
// tests/check_hf.py, what strangers may try by tests/test_hostile.py.
#include "jobs/import_hf.h"

#include <functional>
#include <limits>

#include "exported.h"
#include "run/flags.h"

using namespace peri;

namespace {

// An export, to be changed and then imported.
template <class Real>
class Imported : public Exported<Real> {
  public:
    explicit Imported(const std::string& norm, size_t part_bytes = largest_part)
        : Exported<Real>(config_of(norm, {.embedding_norm = Choice::off})) {
        this->write(part_bytes);
        in.import_hf = this->run.export_hf;
        in.out = this->folder / "imported";
    }

    std::string import() const { return import_hf(in); }

    // What it is refused with; nothing is there then.
    std::string complaint() const {
        std::string said;
        try {
            import();
        } catch (const UserError& error) {
            said = error.what();
        }
        CHECK(!fs::exists(in.out));
        CHECK(!fs::exists(in.out + ".unfinished"));
        CHECK(said.find('\n') == std::string::npos);
        return said;
    }

    void change_config(const std::function<void(Json&)>& change) const {
        change_json("config.json", change);
    }
    void change_json(const std::string& name, const std::function<void(Json&)>& change) const {
        Json json = this->json(name);
        change(json);
        this->folder.write("exported/" + name, json.dump());
    }

    // Every tensor goes through `change`, which may rename it or, returning false, leave it out.
    using Change = std::function<bool(TensorInfo&, std::vector<char>&)>;
    void change_tensors(const Change& change) const {
        const std::string path = *this / "model.safetensors";
        std::vector<TensorInfo> infos;
        std::vector<std::vector<char>> all;
        {
            const SafetensorsFile file(path);
            for (TensorInfo info : file.tensors()) {
                std::vector<char> bytes(info.bytes());
                file.read(info, bytes.data());
                if (!change(info, bytes)) continue;
                infos.push_back(info);
                all.push_back(bytes);
            }
        }
        SafetensorsWriter file(path, infos, {});
        for (const std::vector<char>& bytes : all) file.write(bytes.data());
        file.close();
    }

    RunConfig in;
};

// As the program reads it.
RunConfig settings_in(const std::string& directory) {
    const std::string path = directory + "/config.json";
    const char* words[] = {"train", "--config", path.c_str()};
    return *parse_flags(3, const_cast<char**>(words));
}

template <class Real>
void check_same_bits(const std::string& norm, size_t part_bytes) {
    CAPTURE(norm, part_bytes);
    Imported<Real> imported(norm, part_bytes);
    CHECK_THAT(imported.import(), contains("imported") && contains("--norm " + norm));
    const RunConfig got = settings_in(imported.in.out);
    const ModelConfig &is = got.model, &was = imported.run.model;
    CHECK((is.layers == was.layers && is.width == was.width && is.heads == was.heads &&
           is.kv_heads == was.kv_heads && is.ffn == was.ffn && is.vocab == was.vocab &&
           is.norm_eps == was.norm_eps && is.rope_base == was.rope_base && got.seq == 77));
    CHECK((!is.embedding_norm && is.final_norm && !is.layernorm && is.norm == norm));
    const SavedWeights weights(imported.in.out);
    CHECK(weights.vocab() == 301);
    for (const Tensor& tensor : tensor_table(is).rows) {
        CAPTURE(tensor.name);
        Numbers expected = imported.ours(tensor.name);
        if (tensor.rows == 320) std::fill(expected.begin() + 301 * 12, expected.end(), 0);
        CHECK(weights.values(tensor) == expected);
    }
    // and out again
    RunConfig out = got;
    out.init_from = imported.in.out;
    out.export_hf = imported.folder / "again";
    export_hf(out, part_bytes);
    for (const auto& file : fs::directory_iterator(imported.run.export_hf))
        CHECK(read(file.path()) == read(out.export_hf + "/" + file.path().filename().string()));
}

}  // namespace

TEST_CASE("what was exported comes back with the same bits", "[import]") {
    for (const char* norm : {"pre", "peri", "olmo2"}) {
        check_same_bits<float>(norm, largest_part);
        check_same_bits<float>(norm, 2000);
        check_same_bits<bf16>(norm, largest_part);
        check_same_bits<fp16>(norm, 2000);
    }
}

TEST_CASE("a tied head is a copy of the embedding", "[import]") {
    const Imported<float> tied("pre");
    tied.change_config([](Json& json) { json["tie_word_embeddings"] = true; });
    CHECK_THAT(tied.complaint(), contains("'lm_head.weight' is none of a LlamaForCausalLM"));
    tied.change_tensors([](TensorInfo& info, auto&) { return info.name != "lm_head.weight"; });
    CHECK_THAT(tied.import(), contains("the head a copy of the embedding"));
    const TensorTable table = tensor_table(tied.run.model);
    const SavedWeights weights(tied.in.out);
    CHECK(weights.values(table.rows[table.head]) == weights.values(table.rows[table.embedding]));
    CHECK(weights.values(table.rows[table.head])[5] == tied.ours("embedding.weight")[5]);
}

TEST_CASE("what other releases write", "[import]") {
    const auto accepted = [](const std::string& norm, const std::function<void(Json&)>& change) {
        const Imported<float> imported(norm);
        imported.change_config(change);
        imported.import();
        return settings_in(imported.in.out).model;
    };
    const auto newer = [](Json& json) {  // all of RoPE in one place
        json.erase("rope_theta");
        json.erase("partial_rotary_factor");
    };
    const auto older = [](Json& json) {  // nothing that was always so
        for (const char* key : {"rope_parameters", "hidden_act", "attention_bias", "mlp_bias",
                                "head_dim", "tie_word_embeddings", "architectures"})
            json.erase(key);
        json["rope_scaling"] = nullptr;
        json["pretraining_tp"] = 1;
    };
    for (const char* norm : {"pre", "peri", "olmo2"}) {
        CHECK(accepted(norm, newer).rope_base == 500);
        CHECK(accepted(norm, older).rope_base == 500);
    }
    const auto oldest = [](Json& json) { json.erase("rope_theta"), json.erase("rope_parameters"); };
    CHECK(accepted("pre", oldest).rope_base == 10000);
    const auto as_heads = [](Json& json) { json.erase("num_key_value_heads"); };
    CHECK_THROWS_WITH(accepted("pre", as_heads), contains("has another shape"));

    const Imported<float> angles("pre");
    angles.change_tensors([](TensorInfo& info, auto&) {
        if (info.name == "model.layers.1.input_layernorm.weight")
            info.name = "model.layers.1.self_attn.rotary_emb.inv_freq";
        return true;
    });
    CHECK_THAT(angles.complaint(), contains("none of its files has the tensor "
                                            "'model.layers.1.input_layernorm.weight'"));
}

TEST_CASE("a config.json that is no model of ours is refused in a sentence", "[import]") {
    struct Case {
        const char *norm, *key;
        Json value;
        std::string words;
    };
    const Json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}},
               half = {{"partial_rotary_factor", 0.5}};
    const double infinity = std::numeric_limits<double>::infinity();
    for (const auto& [norm, key, value, words] : std::vector<Case>{
             {"pre", "model_type", "gemma2", "one of llama, glm4, olmo2"},
             {"pre", "model_type", "peri", "one of llama, glm4, olmo2"},
             {"pre", "model_type", 7, "one of llama"},
             {"pre", "model_type", nullptr, "fetch the file again"},
             {"pre", "architectures", {"LlamaForSequenceClassification"}, "LlamaForCausalLM"},
             {"pre", "rope_scaling", yarn, "no angle is scaled"},
             {"pre", "rope_scaling", "yarn", "no angle is scaled"},
             {"pre", "rope_scaling", {{"type", "linear"}, {"factor", 2.0}}, "no angle is scaled"},
             {"olmo2", "rope_parameters", yarn, "no angle is scaled"},
             {"olmo2", "rope_parameters", {{"rope_theta", 501.0}}, ""},
             {"pre", "rope_theta", "much", ""},
             {"pre", "rope_theta", 0, ""},
             {"peri", "rope_parameters", half, ""},
             {"pre", "partial_rotary_factor", 0.5, "all of a head is turned"},
             {"pre", "attention_bias", true, "always false"},
             {"olmo2", "attention_bias", 0, "always false"},
             {"pre", "mlp_bias", true, "always false"},
             {"pre", "hidden_act", "gelu", "always \"silu\""},
             {"pre", "sliding_window", 4096, "always null"},
             {"pre", "quantization_config", {{"bits", 4}}, "always null"},
             {"pre", "tie_word_embeddings", "yes", "true or false"},
             {"pre", "head_dim", 4, "always hidden_size / num_attention_heads, 6"},
             {"pre", "num_hidden_layers", 1, "none of a LlamaForCausalLM"},
             {"pre", "num_hidden_layers", 3, "none of its files has the tensor 'model.layers.2."},
             {"pre", "num_hidden_layers", 1e9, "whole number"},
             {"pre", "num_hidden_layers", 1000000000, "from 1 to 10000"},
             {"pre", "num_hidden_layers", 0, "from 1 to 10000"},
             {"pre", "num_hidden_layers", -2, "from 1 to 10000"},
             {"pre", "vocab_size", UINT64_MAX, "from 1 to 1.67772e+07"},
             {"pre", "vocab_size", 302, "another shape"},
             {"pre", "hidden_size", "12", "whole number"},
             {"pre", "hidden_size", 16, "\"head_dim\" is 6"},
             {"pre", "intermediate_size", 8, "another shape"},
             {"pre", "hidden_size", nullptr, "has no \"hidden_size\""},
             {"pre", "num_attention_heads", 5, "no model here has its sizes"},
             {"pre", "num_attention_heads", 4, "no model here has its sizes"},
             {"pre", "num_key_value_heads", 2, "another shape"},
             {"pre", "max_position_embeddings", 1e300, "whole number"},
             {"pre", "max_position_embeddings", nullptr, "has no"},
             {"pre", "rms_norm_eps", -1e-6, "from 0 to 1"},
             {"pre", "rms_norm_eps", "1e-6", "from 0 to 1"},
             {"pre", "rms_norm_eps", infinity, "has no"},  // as JSON it is null
         }) {
        CAPTURE(norm, key, value.dump());
        const Imported<float> imported(norm);
        imported.change_config([k = key, v = value](Json& json) { json[k] = v; });
        const std::string said = imported.complaint();
        CHECK_THAT(said, contains(words));
        CHECK_THAT(said, contains(imported.run.export_hf));
        CHECK_THAT(said, contains(": "));
        if (said.find("another shape") == said.npos && said.find("tensor '") == said.npos &&
            said.find("no model here") == said.npos)
            CHECK_THAT(said, contains("config.json: ") &&
                                 (contains("\"" + std::string(key) + "\"") ||
                                  contains("rope_theta\" is") || contains("head_dim\" is") ||
                                  contains("partial_rotary_factor\" is")));
    }
    const Imported<float> unsaid("peri");  // Glm4 turns half of a head where nothing is said
    unsaid.change_config([](Json& json) {
        json.erase("partial_rotary_factor");
        json.erase("rope_parameters");
    });
    CHECK_THAT(unsaid.complaint(), contains("\"partial_rotary_factor\" is 0.5"));
    for (const char* text : {"", "{", "[]", "null", "{\"a\":1e999}", "\xff\xfe"}) {
        const Imported<float> broken("pre");
        broken.folder.write("exported/config.json", text);
        CHECK_THAT(broken.complaint(), contains("config.json: is no JSON object"));
    }
    const Imported<float> none("pre");
    fs::remove(none / "config.json");
    CHECK_THAT(none.complaint(), contains("config.json: cannot be read"));
}

TEST_CASE("tensors that are no model of ours are refused in a sentence", "[import]") {
    const auto complaint = [](const std::string& tensor, const auto& change) {
        const Imported<float> imported("peri");
        imported.change_tensors([&](TensorInfo& info, std::vector<char>& bytes) {
            return info.name != tensor || change(info, bytes);
        });
        const std::string said = imported.complaint();
        CHECK_THAT(said, contains("'" + tensor + "'") && contains(imported.run.export_hf));
        return said;
    };
    const std::string q = "model.layers.1.self_attn.q_proj.weight", gamma = "model.norm.weight";
    const auto with = [](auto number) {
        return [number](TensorInfo&, std::vector<char>& bytes) {
            std::memcpy(&bytes[bytes.size() - sizeof number], &number, sizeof number);
            return true;
        };
    };
    CHECK_THAT(complaint(q, [](auto&, auto&) { return false; }), contains("none of its files"));
    CHECK_THAT(complaint(q, with(float(NAN))), contains("NaN or infinity"));
    CHECK_THAT(complaint("lm_head.weight", with(float(-INFINITY))), contains("NaN or infinity"));
    CHECK_THAT(complaint(gamma, with(float(NAN))), contains("NaN or infinity"));
    const auto shape = [](TensorInfo& info, auto&) { return info.shape = {6, 24}, true; };
    CHECK_THAT(complaint(q, shape), contains("another shape"));
    const auto flat = [](TensorInfo& info, auto&) { return info.shape = {144}, true; };
    CHECK_THAT(complaint(q, flat), contains("another shape"));
    const auto whole = [](TensorInfo& info, auto&) { return info.dtype = "I32", true; };
    CHECK_THAT(complaint(q, whole), contains("is I32: import a model of F32, BF16 or F16"));

    const Imported<float> bias("pre");
    bias.change_tensors([](TensorInfo& info, auto&) {
        if (info.name == "model.norm.weight") info.name = "model.layers.0.self_attn.q_proj.bias";
        return true;
    });
    CHECK_THAT(bias.complaint(), contains("'model.layers.0.self_attn.q_proj.bias' is none of"));

    const Imported<fp16> narrow("olmo2");
    narrow.change_tensors([](TensorInfo& info, std::vector<char>& bytes) {
        if (info.dtype == "F16") bytes[1] = 0x7c, bytes[0] = 0;  // infinity
        return true;
    });
    CHECK_THAT(narrow.complaint(), contains("NaN or infinity"));

    const Imported<float> damaged("pre");
    std::string bytes = read(damaged / "model.safetensors");
    bytes[bytes.size() - 3] ^= 4;
    damaged.folder.write("exported/model.safetensors", bytes);
    CHECK_THAT(damaged.complaint(), contains("is damaged"));
    damaged.folder.write("exported/model.safetensors", bytes.substr(0, bytes.size() / 2));
    CHECK_THAT(damaged.complaint(), contains("bytes"));
    fs::remove(damaged / "model.safetensors");
    CHECK_THAT(damaged.complaint(), contains("holds neither model.safetensors nor"));
}

TEST_CASE("parts: an index that is wrong, or leads elsewhere", "[import]") {
    constexpr size_t limit = 2000;
    const std::string index = "model.safetensors.index.json",
                      q = "model.layers.0.self_attn.q_proj.weight";
    const auto complaint = [&](const Json& file) {
        const Imported<float> parts("pre", limit);
        parts.change_json(index, [&](Json& json) { json["weight_map"][q] = file; });
        return parts.complaint();
    };
    for (const char* file : {"../outside.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""})
        CHECK_THAT(complaint(file), contains(index) || contains("leads out of the directory"));
    CHECK_THAT(complaint(7), contains("names no file for '" + q + "'"));
    CHECK_THAT(complaint("gone.safetensors"),
               contains("gone.safetensors") && contains("cannot be read"));

    const Imported<float> parts("pre", limit);
    const std::string first = parts.json(index).at("weight_map").at("model.embed_tokens.weight");
    const Json whole = parts.json(index);
    parts.folder.write("exported/twice.safetensors", read(parts / first));
    parts.change_json(index, [](Json& json) { json["weight_map"]["x"] = "twice.safetensors"; });
    CHECK_THAT(parts.complaint(),
               contains("twice.safetensors: tensor") && contains("earlier file"));
    parts.change_json(index, [](Json& json) { json.erase("weight_map"); });
    CHECK_THAT(parts.complaint(), contains("has no \"weight_map\""));

    // links: inside of the directory, and out of it
    parts.folder.write("exported/" + index, whole.dump());
    fs::rename(parts / first, parts / "blob");
    fs::create_symlink("blob", parts / first);
    CHECK_THAT(parts.import(), contains("imported"));
    fs::remove_all(parts.in.out);
    fs::rename(parts / "blob", parts.folder / "blob");
    fs::remove(parts / first);
    fs::create_symlink("../blob", parts / first);
    CHECK_THAT(parts.complaint(), contains("leads out of the directory") && contains("cp -rL"));
}

TEST_CASE("--import-hf as a user meets it, and the picture of what was imported",
          "[program][import]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run", hf = folder / "hf", model = folder / "model",
                      text =
                          folder.write("text.txt", std::string(500, 'a') + std::string(500, 'b'));
    REQUIRE(train(folder, quick + "--norm olmo2 --seq 17 --layers 2 --out " + run).code == 0);
    REQUIRE(train(folder, "--export-hf " + hf + " --init-from " + run).code == 0);
    const Result r = train(folder, "--import-hf " + hf + " --out " + model);
    CAPTURE(r.out, r.err);
    CHECK(r.code == 0);
    CHECK(r.err == "");
    CHECK_THAT(r.out, contains("Olmo2ForCausalLM") && contains("--evaluate --init-from " + model));

    const auto loss = [&](const std::string& weights, const std::string& more) {
        const Result e = train(folder, "--evaluate --batch 2 --init-from " + weights + " --data " +
                                           text + " --threads 1 --tune off" + more);
        CAPTURE(e.out, e.err);
        CHECK(e.code == 0);
        return e.out.substr(e.out.find("loss  "), 30);
    };
    const std::string seen = folder / "seen";
    CHECK(loss(model, " --out " + seen) == loss(run, ""));
    const std::string probes = read(seen + "/probe.csv");
    CHECK_THAT(probes, contains("\n0,4,hidden_variance,") && contains("\n0,,growth_linear_slope,"));
    CHECK(probes.find("gradient") == std::string::npos);
    CHECK_THAT(read(seen + "/validation.csv"), contains("\n0,"));
    CHECK_THAT(read(seen + "/view.html"), contains("\"hidden_variance\":{\"step\":[0]"));

    struct Mistake {
        std::string flags, cause, remedy;
    };
    const std::string import = "--import-hf " + hf, to = " --out " + folder / "new";
    for (const Mistake& m : std::vector<Mistake>{
             {import, "--import-hf needs --out", "new directory"},
             {import + " --out " + model, "something already", "name a new directory"},
             {import + to + " --evaluate", "one job each", "choose one"},
             {"--import-hf " + (folder / "none") + to, "is no directory", "name that of a model"},
             {"--import-hf " + text + to, "is no directory", "name that of a model"},
             {"--import-hf " + run + to, "config.json: has no \"model_type\"", "fetch"},
             {"--evaluate --init-from " + model + " --out " + seen, "already holds a run",
              "choose"},
             {"--evaluate --seq 1000 --init-from " + model + " --data " + text + to, "1001",
              "smaller --seq"},
         }) {
        const Result wrong = train(folder, m.flags);
        CAPTURE(m.flags, wrong.out, wrong.err);
        CHECK(wrong.code == 2);
        CHECK(std::count(wrong.err.begin(), wrong.err.end(), '\n') == 1);
        CHECK_THAT(wrong.err, contains(m.cause));
        CHECK_THAT(wrong.err, contains(m.remedy));
        CHECK(!fs::exists(folder / "new"));
    }
}
