// --export-hf, as far as it can be seen without Python: which architecture, names, shapes, numbers,
// config.json, tokenizer, parts, refusals. That the models then compute the same is seen by
// tests/check_hf.py.
#include "jobs/export_hf.h"

#include <cmath>
#include <set>

#include "compare.h"
#include "exported.h"
#include "jobs/hf_architecture.h"
#include "jobs/hf_config.h"
#include "jobs/hf_tokenizer.h"
#include "json.h"
#include "program.h"

using namespace peri;

namespace {

std::vector<TensorInfo> tensors_in(const std::string& path) {
    const SafetensorsFile file(path);
    return file.tensors();
}

// "name [rows, cols]" of each tensor
std::set<std::string> contents(const std::string& path) {
    std::set<std::string> all;
    for (const TensorInfo& t : tensors_in(path)) all.insert(t.name + " " + Json(t.shape).dump());
    return all;
}

std::string complaint(const Exported<float>& exported) {
    try {
        exported.write();
    } catch (const UserError& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("the architecture that is exact", "[export]") {
    struct Case {
        const char *norm, *name;
        Options options;
    };
    const Choice on = Choice::on, off = Choice::off;
    for (const auto& [norm, name, options] : std::vector<Case>{
             {"pre", "llama", {}},
             {"pre", "llama", {.embedding_norm = on}},
             {"pre", "peri", {.final_norm = off}},
             {"pre", "peri", {.layernorm = true}},
             {"pre", "peri", {.qk_norm = "head"}},
             {"peri", "glm4", {}},
             {"peri", "glm4", {.embedding_norm = off}},
             {"peri", "peri", {.final_norm = off}},
             {"peri", "peri", {.qk_norm = "full"}},
             {"peri", "peri", {.layernorm = true}},
             {"olmo2", "olmo2", {}},
             {"olmo2", "peri", {.qk_norm = "none"}},
             {"olmo2", "peri", {.qk_norm = "head"}},
             {"output", "peri", {}},
             {"output", "olmo2", {.qk_norm = "full"}},
             {"simple", "peri", {}},
             {"post", "peri", {}},
             {"deep", "peri", {}},
             {"keel", "peri", {}},
             {"mix", "peri", {}},
             {"pre:1,peri:1", "peri", {}},
             {"pre:2", "llama", {}},
         }) {
        CAPTURE(norm, options.qk_norm);
        const ModelConfig config = config_of(norm, options);
        CHECK(hf_architecture("auto", config).name == std::string(name));
        CHECK(hf_architecture(name, config).name == std::string(name));
        CHECK(hf_architecture("peri", config).name == std::string("peri"));
    }
}

// A placement that has the norms of Llama, and a weight on its main path.
TEST_CASE("the weight of the main path is none of theirs", "[export]") {
    ModelConfig config = config_of("pre");
    config.placement[1].alpha = Alpha::deepnorm;
    CHECK(hf_architecture("auto", config).name == std::string("peri"));
    CHECK_THROWS_WITH(hf_architecture("llama", config), contains("no weight alpha"));
}

TEST_CASE("an architecture that is not exact is refused, and another named", "[export]") {
    const auto refused = [](const char* wanted, const char* norm, const Options& options,
                            const std::string& why, const std::string& remedy) {
        CAPTURE(wanted, norm);
        CHECK_THROWS_WITH(hf_architecture(wanted, config_of(norm, options)),
                          contains(std::string("--export-as ") + wanted) && contains(why) &&
                              contains("choose " + remedy));
    };
    refused("llama", "peri", {}, "no place for 'layers.0.attention.output_norm.weight'", "glm4");
    refused("glm4", "pre", {}, "needs 'layers.0.attention.output_norm.weight'", "llama");
    refused("olmo2", "output", {}, "needs 'layers.0.attention.k_norm.weight'", "peri");
    refused("olmo2", "olmo2", {.qk_norm = "head"}, "all heads' queries together", "peri");
    refused("llama", "pre", {.final_norm = Choice::off}, "needs 'final_norm.weight'", "peri");
    refused("llama", "pre", {.layernorm = true}, "'layers.0.attention.input_norm.bias'", "peri");
    refused("gpt2", "pre", {}, "gpt2", "auto, llama, glm4, olmo2 or peri");
}

TEST_CASE("names and shapes", "[export]") {
    const auto check = [](const std::string& norm, const std::set<std::string>& layer) {
        CAPTURE(norm);
        const Exported<float> exported(config_of(norm));
        exported.write();
        std::set<std::string> expected = {"model.embed_tokens.weight [301,12]",
                                          "model.norm.weight [12]", "lm_head.weight [301,12]"};
        for (const std::string& name : layer)
            for (const char* number : {"0.", "1."})
                expected.insert("model.layers." + (number + name));
        CHECK(contents(exported / "model.safetensors") == expected);
        CHECK(SafetensorsFile(exported / "model.safetensors").metadata().at("format") == "pt");
        CHECK(!exported.has("modeling_peri.py"));
    };
    const std::set<std::string> matrices = {
        "self_attn.q_proj.weight [12,12]", "self_attn.k_proj.weight [6,12]",
        "self_attn.v_proj.weight [6,12]", "self_attn.o_proj.weight [12,12]",
        "mlp.down_proj.weight [12,7]"};
    const auto with = [&](std::set<std::string> more) {
        more.insert(matrices.begin(), matrices.end());
        return more;
    };
    check("pre", with({"input_layernorm.weight [12]", "post_attention_layernorm.weight [12]",
                       "mlp.gate_proj.weight [7,12]", "mlp.up_proj.weight [7,12]"}));
    check("peri", with({"input_layernorm.weight [12]", "post_self_attn_layernorm.weight [12]",
                        "post_attention_layernorm.weight [12]", "post_mlp_layernorm.weight [12]",
                        "mlp.gate_up_proj.weight [14,12]"}));
    check("olmo2",
          with({"post_attention_layernorm.weight [12]", "post_feedforward_layernorm.weight [12]",
                "self_attn.q_norm.weight [12]", "self_attn.k_norm.weight [6]",
                "mlp.gate_proj.weight [7,12]", "mlp.up_proj.weight [7,12]"}));
}

TEST_CASE("our own architecture: our names and numbers, and the code", "[export]") {
    Exported<float> exported(config_of("keel", {.embedding_norm = Choice::on, .layernorm = true}));
    CHECK_THAT(exported.write(), contains("PeriForCausalLM") && contains("trust_remote_code=True"));
    size_t tensors = 0;
    for (const Tensor& tensor : exported.model.table().rows) {
        Numbers ours = exported.ours(tensor.name);
        if (tensor.name == "embedding.weight" || tensor.name == "head.weight")
            ours.resize(301 * 12);
        CHECK(exported.theirs(tensor.name) == ours);
        tensors++;
    }
    CHECK(contents(exported / "model.safetensors").size() == tensors);
    for (const char* code : {"modeling_peri.py", "configuration_peri.py"})
        CHECK(read(exported / code) == read(DATA_DIRECTORY "/hf/" + std::string(code)));
}

TEST_CASE("numbers of Llama and Olmo2 are ours under other names", "[export]") {
    const Exported<float> llama(config_of("pre")), olmo2(config_of("olmo2"));
    llama.write();
    olmo2.write();
    const auto same = [](const Exported<float>& e, const char* theirs, const char* ours) {
        CAPTURE(theirs);
        CHECK(e.theirs("model.layers.1." + std::string(theirs) + ".weight") ==
              e.ours("layers.1." + std::string(ours) + ".weight"));
    };
    same(llama, "input_layernorm", "attention.input_norm");
    same(llama, "post_attention_layernorm", "mlp.input_norm");
    same(llama, "self_attn.q_proj", "attention.q");
    same(llama, "self_attn.k_proj", "attention.k");
    same(llama, "self_attn.v_proj", "attention.v");
    same(llama, "self_attn.o_proj", "attention.o");
    same(llama, "mlp.gate_proj", "mlp.gate");
    same(llama, "mlp.up_proj", "mlp.up");
    same(llama, "mlp.down_proj", "mlp.down");
    same(olmo2, "post_attention_layernorm", "attention.output_norm");
    same(olmo2, "post_feedforward_layernorm", "mlp.output_norm");
    same(olmo2, "self_attn.q_norm", "attention.q_norm");
    same(olmo2, "self_attn.k_norm", "attention.k_norm");
    CHECK(llama.theirs("model.norm.weight") == llama.ours("final_norm.weight"));
}

TEST_CASE("Glm4: rows for its RoPE, gate above up", "[export]") {
    const Exported<float> exported(config_of("peri"));
    exported.write();
    constexpr int C = 12, order[] = {0, 3, 1, 4, 2, 5};  // of the rows of a head
    for (const char* part : {"q", "k"}) {
        const Numbers ours = exported.ours("layers.1.attention." + std::string(part) + ".weight");
        const Numbers theirs =
            exported.theirs("model.layers.1.self_attn." + std::string(part) + "_proj.weight");
        Numbers expected;
        for (size_t row = 0; row < ours.size() / C; row++) {
            const auto from = ours.begin() + (row / 6 * 6 + order[row % 6]) * C;
            expected.insert(expected.end(), from, from + C);
        }
        CHECK(theirs == expected);
        CHECK(theirs != ours);
    }
    CHECK(exported.theirs("model.layers.0.self_attn.v_proj.weight") ==
          exported.ours("layers.0.attention.v.weight"));
    Numbers gate_up = exported.ours("layers.0.mlp.gate.weight");
    const Numbers up = exported.ours("layers.0.mlp.up.weight");
    gate_up.insert(gate_up.end(), up.begin(), up.end());
    CHECK(exported.theirs("model.layers.0.mlp.gate_up_proj.weight") == gate_up);
}

TEST_CASE("the embedding norm goes into the table", "[export]") {
    const Exported<float> exported(config_of("peri"));
    exported.write();
    const Numbers table = exported.ours("embedding.weight");
    const Numbers gamma = exported.ours("embedding_norm.weight");
    Numbers expected;
    for (int row = 0; row < 301; row++) {
        double sum = 0;
        for (int c = 0; c < 12; c++) sum += table[row * 12 + c] * table[row * 12 + c];
        for (int c = 0; c < 12; c++)
            expected.push_back(gamma[c] * table[row * 12 + c] / std::sqrt(sum / 12 + 0.25));
    }
    const Numbers folded = exported.theirs("model.embed_tokens.weight");
    CHECK(difference(folded, expected, 4 * roundings<float>(2)) ==
          "");  // rounded to float, values below 4
    const Exported<float> without(config_of("peri", {.embedding_norm = Choice::off}));
    without.write();
    Numbers rows = without.ours("embedding.weight");
    rows.resize(301 * 12);
    CHECK(without.theirs("model.embed_tokens.weight") == rows);
}

TEST_CASE("numbers as they are stored, or as --export-dtype says", "[export]") {
    Exported<bf16> narrow(config_of("pre"));
    const std::string q = "model.layers.0.self_attn.q_proj.weight", norm = "model.norm.weight";
    const auto dtypes = [&](Exported<bf16>& exported, ExportDtype dtype) {
        exported.run.export_dtype = dtype;
        fs::remove_all(exported.run.export_hf);
        exported.write();
        const SafetensorsFile file(exported / "model.safetensors");
        const std::string type = exported.json("config.json").at("torch_dtype");
        return file.find(q)->dtype + " " + file.find(norm)->dtype + " " + type;
    };
    CHECK(dtypes(narrow, ExportDtype::stored) == "BF16 F32 bfloat16");
    CHECK(narrow.theirs(q) == narrow.ours("layers.0.attention.q.weight"));
    CHECK(narrow.theirs(norm) == narrow.ours("final_norm.weight"));
    CHECK(dtypes(narrow, ExportDtype::fp32) == "F32 F32 float32");
    CHECK(narrow.theirs(q) == narrow.ours("layers.0.attention.q.weight"));
    CHECK(dtypes(narrow, ExportDtype::bf16) == "BF16 BF16 bfloat16");
    const Numbers gamma = narrow.ours("final_norm.weight"), rounded = narrow.theirs(norm);
    CHECK(rounded != gamma);
    for (size_t i = 0; i < gamma.size(); i++)
        CHECK(rounded[i] == bf16(static_cast<float>(gamma[i])));
}

TEST_CASE("weights of another model are not exported", "[export]") {
    Exported<float> exported(config_of("peri"));
    exported.run.model = config_of("pre");
    CHECK_THAT(complaint(exported), contains("which this model has not"));
    CHECK(!fs::exists(exported.run.export_hf));
}

TEST_CASE("what transformers do not know is said", "[export]") {
    ModelConfig config = config_of("pre");
    for (const bool masked : {false, true}) {
        config.document_mask = masked;
        const std::string said = Exported<float>(config).write();
        CHECK((said.find("one document at a time") != std::string::npos) == masked);
    }
}

TEST_CASE("numbers that are not finite are not exported", "[export]") {
    const auto with = [](double value, ExportDtype dtype) {
        Exported<float> exported(config_of("pre"));
        Numbers values = exported.model.values(exported.model.table().head);
        values[3] = value;
        exported.model.set_values(exported.model.table().head, values);
        fs::remove_all(exported.run.init_from);
        const Optimizer<float> optimizer(exported.model, {});
        save_checkpoint<float>(exported.folder / "", exported.model, optimizer, {}, 0);
        exported.run.export_dtype = dtype;
        const std::string said = complaint(exported);
        CHECK(fs::exists(exported.run.export_hf) == said.empty());
        CHECK(!fs::exists(exported.run.export_hf + ".unfinished"));
        return said;
    };
    CHECK(with(60000, ExportDtype::fp16) == "");
    CHECK_THAT(with(1e5, ExportDtype::fp16),
               contains("'lm_head.weight'") && contains("give --export-dtype fp32"));
    CHECK(with(1e5, ExportDtype::bf16) == "");
    for (const double bad : {double(NAN), -double(INFINITY)})
        CHECK_THAT(with(bad, ExportDtype::stored), contains("have diverged"));
}

TEST_CASE("config.json", "[export]") {
    Exported<float> peri(config_of("peri"));
    peri.write();
    const Json config = peri.json("config.json");
    const Json expected = {{"architectures", {"Glm4ForCausalLM"}},
                           {"vocab_size", 301},
                           {"hidden_size", 12},
                           {"intermediate_size", 7},
                           {"num_hidden_layers", 2},
                           {"num_attention_heads", 2},
                           {"num_key_value_heads", 1},
                           {"head_dim", 6},
                           {"max_position_embeddings", 77},
                           {"rms_norm_eps", 0.25},
                           {"attention_bias", false},
                           {"partial_rotary_factor", 1.0},
                           {"tie_word_embeddings", false},
                           {"eos_token_id", nullptr},
                           {"pad_token_id", nullptr}};
    for (const auto& [key, value] : expected.items()) {
        CAPTURE(key);
        CHECK((key == "architectures" ? config.at(key).at(0) == "Glm4ForCausalLM"
                                      : config.at(key) == value));
    }
    CHECK(config.at("rope_parameters").at("partial_rotary_factor").is_number_float());
    for (const char* key : {"rope_theta", "attention_dropout", "rms_norm_eps"})
        CHECK(config.at(key).is_number_float());
    CHECK(config.at("rope_theta") == 500);
    CHECK(config.at("rope_parameters").at("rope_theta") == 500);
    CHECK(!config.contains("auto_map"));
    CHECK(!peri.has("tokenizer.json"));  // 301 tokens: which ones is not known

    const Exported<float> keel(config_of("pre:1,keel:1"));
    keel.write();
    const Json own = keel.json("config.json");
    CHECK(own.at("auto_map").at("AutoModelForCausalLM") == "modeling_peri.PeriForCausalLM");
    CHECK(own.at("norm_eps") == 0.25);
    CHECK(own.at("rope_theta") == 500);
    CHECK(own.at("final_norm") == false);
    const Json rows = own.at("sublayers");
    REQUIRE(rows.size() == 4);
    CHECK(rows[1] == Json{{"A", true},
                          {"B", false},
                          {"C", false},
                          {"alpha", 1.0},
                          {"qk", "none"},
                          {"inner", false}});
    CHECK(rows[2].at("C") == true);
    CHECK(rows[2].at("alpha") == 4.0);
}

TEST_CASE("end-of-text tokens of the vocabularies that are known", "[export]") {
    CHECK(end_of_text(256) == 0);
    CHECK(end_of_text(50257) == 50256);
    CHECK(end_of_text(100277) == 100257);
    CHECK(end_of_text(300) == -1);
    CHECK(Json::parse(hf_generation_config(100277)).at("eos_token_id") == 100257);
    CHECK(Json::parse(hf_generation_config(300)).at("eos_token_id").is_null());
}

TEST_CASE("the tokenizer of bytes", "[export]") {
    ModelConfig bytes = config_of("pre");
    bytes.vocab = 256;
    const Exported<float> exported(bytes);
    CHECK_THAT(exported.write(), contains("bytes; 0 is <|endoftext|>"));
    CHECK(exported.json("config.json").at("eos_token_id") == 0);
    CHECK(exported.json("config.json").at("pad_token_id") == 0);
    CHECK(exported.json("tokenizer_config.json").at("eos_token") == "<|endoftext|>");
    CHECK(exported.json("tokenizer_config.json").at("model_max_length") == 77);
    const Json tokenizer = exported.json("tokenizer.json");
    const Json vocabulary = tokenizer.at("model").at("vocab");
    CHECK(vocabulary.size() == 256);
    for (const auto& [token, id] : std::vector<std::pair<std::string, int>>{{"<|endoftext|>", 0},
                                                                            {"A", 65},
                                                                            {"\u0120", ' '},
                                                                            {"\u010a", '\n'},
                                                                            {"!", 33},
                                                                            {"~", 126},
                                                                            {"\u0121", 127},
                                                                            {"\u0142", 160},
                                                                            {"\u00a1", 161},
                                                                            {"\u0143", 173},
                                                                            {"\u00ff", 255}}) {
        CAPTURE(token);
        CHECK(vocabulary.at(token) == id);
    }
    CHECK(tokenizer.at("added_tokens").at(0).at("id") == 0);
    CHECK(tokenizer.at("pre_tokenizer").at("use_regex") == false);
}

TEST_CASE("large models go into parts", "[export]") {
    Exported<float> exported(config_of("peri"));
    constexpr size_t limit = 2000;  // the tables have 14,448 bytes
    exported.write();
    std::map<std::string, Numbers> whole;
    for (const TensorInfo& t : tensors_in(exported / "model.safetensors"))
        whole[t.name] = exported.theirs(t.name);
    fs::remove_all(exported.run.export_hf);
    exported.write(limit);
    CHECK(!exported.has("model.safetensors"));
    const Json index = exported.json("model.safetensors.index.json");
    std::set<std::string> files, tensors;
    size_t bytes = 0;
    for (const auto& [name, file] : index.at("weight_map").items()) files.insert(file);
    REQUIRE(files.size() > 3);
    char first[64];
    std::snprintf(first, sizeof first, "model-00001-of-%05zu.safetensors", files.size());
    CHECK(*files.begin() == first);
    for (const std::string& name : files) {
        const SafetensorsFile file(exported / name);
        CHECK((file.tensors().size() == 1 || file.tensors().back().end <= limit));
        for (const TensorInfo& t : file.tensors()) {
            CHECK(index.at("weight_map").at(t.name) == name);
            std::vector<float> numbers(t.bytes() / sizeof(float));
            file.read(t, numbers.data());
            CHECK(Numbers(numbers.begin(), numbers.end()) == whole.at(t.name));
            tensors.insert(t.name);
            bytes += t.bytes();
        }
    }
    CHECK(tensors.size() == whole.size());
    CHECK(index.at("metadata").at("total_size") == bytes);
}

TEST_CASE("the directory: new or empty, and whole or not there", "[export]") {
    Exported<float> exported(config_of("pre"));
    const std::string good = exported.run.export_hf;
    fs::create_directory(good);
    exported.folder.write("exported/mine", "text");
    CHECK_THAT(complaint(exported), contains("--export-hf " + good) && contains("already"));
    CHECK(read(good + "/mine") == "text");
    fs::remove(good + "/mine");
    exported.folder.write("file", "text");
    exported.run.export_hf = exported.folder / "file";
    CHECK_THAT(complaint(exported), contains("already"));
    CHECK(read(exported.folder / "file") == "text");

    // what an export that was cut off has left is removed
    fs::create_directory(good + ".unfinished");
    exported.folder.write("exported.unfinished/model.safetensors", "half");
    exported.run.export_hf = good + "/";
    CHECK(complaint(exported) == "");
    CHECK(fs::exists(good + "/config.json"));
    CHECK(!fs::exists(good + ".unfinished"));
    exported.run.export_hf = exported.folder / "a/b/c";
    CHECK(complaint(exported) == "");
    CHECK(fs::exists(exported.folder / "a/b/c/config.json"));

    const std::string weights = exported.run.init_from + "/model.safetensors";
    std::string damaged = read(weights);
    damaged[damaged.size() - 3] ^= 4;
    exported.folder.write("step-00000000/model.safetensors", damaged);
    exported.run.export_hf = exported.folder / "new";
    CHECK_THAT(complaint(exported), contains("is damaged"));
    CHECK(!fs::exists(exported.folder / "new"));
}

TEST_CASE("--export-hf as a user meets it", "[program][export]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run", to = " --export-hf " + (folder / "hf");
    REQUIRE(train(folder, quick + "--norm pre --seq 17 --layers 2 --out " + run).code == 0);
    const Result r = train(folder, "--init-from " + run + to);
    CAPTURE(r.out, r.err);
    CHECK(r.code == 0);
    CHECK(r.err == "");
    CHECK_THAT(r.out, contains("step-00000004") && contains("LlamaForCausalLM"));
    const Json config = Json::parse(read(folder / "hf/config.json"));
    CHECK(config.at("max_position_embeddings") == 17);
    CHECK(config.at("num_hidden_layers") == 2);
    // a file alone, with the flags of its model
    const std::string file = run + "/step-00000004/model.safetensors";
    const std::string flags = quick + "--norm pre --seq 17 --layers 2 --init-from " + file;
    REQUIRE(train(folder, flags + " --export-hf " + (folder / "again")).code == 0);
    for (const char* name : {"/config.json", "/model.safetensors", "/tokenizer.json"})
        CHECK(read(folder / ("again" + std::string(name))) ==
              read(folder / ("hf" + std::string(name))));

    const std::string from = "--init-from " + run;
    struct Mistake {
        std::string flags, cause, remedy;
    };
    for (const Mistake& m : std::vector<Mistake>{
             {to, "--export-hf needs weights", "give --init-from"},
             {from + to, "something already", "name a new directory"},
             {from + to + "2 --export-as glm4", "Glm4ForCausalLM", "choose llama"},
             {from + to + "2 --export-as bert", "bert", "choose auto"},
             {from + to + "2 --export-dtype fp8", "fp8", "choose one of stored"},
             {from + to + "2 --evaluate", "one job each", "choose one"},
             {from + to + "2 --norm peri", "output_norm", "the flags that it was trained with"},
             {"--export-as llama", "--export-as is for --export-hf", "leave this out"},
             {"--init-from " + (folder / "none") + to + "2", "none", "cannot be read"},
         }) {
        const Result wrong = train(folder, m.flags);
        CAPTURE(m.flags, wrong.out, wrong.err);
        CHECK(wrong.code == 2);
        CHECK(std::count(wrong.err.begin(), wrong.err.end(), '\n') == 1);
        CHECK_THAT(wrong.err, contains(m.cause));
        CHECK_THAT(wrong.err, contains(m.remedy));
        CHECK(!fs::exists(folder / "hf2"));
    }
}
