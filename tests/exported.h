// A model with random weights, and its export, for the tests of --export-hf and --import-hf.
#pragma once

#include <cstring>

#include "jobs/export_hf.h"
#include "json.h"
#include "program.h"
#include "store/checkpoint.h"

namespace peri {

using Json = nlohmann::json;
using Numbers = std::vector<double>;

struct Options {
    std::string qk_norm = "auto";
    Choice embedding_norm = Choice::automatic, final_norm = Choice::automatic;
    bool layernorm = false;
};

// Heads of 6: of heads of 4 the order of rows in RoPE is its own inverse. The table has 320 rows.
inline ModelConfig config_of(const std::string& norm, const Options& options = {}) {
    ModelConfig c;
    c.norm = norm;
    c.layers = 2;
    c.width = 12;
    c.heads = 2;
    c.kv_heads = 1;
    c.ffn = 7;
    c.vocab = 301;
    c.norm_eps = 0.25;
    c.rope_base = 500;
    c.layernorm = options.layernorm;
    resolve(c, options.qk_norm, options.embedding_norm, options.final_norm);
    return c;
}

// A checkpoint with random weights, gammas around 1, and its export.
template <class Real>
class Exported {
  public:
    explicit Exported(const ModelConfig& config) : model(config, 1, 8) {
        const std::vector<Tensor>& rows = model.table().rows;
        for (int id = 0; id < static_cast<int>(rows.size()); id++) {
            Rng rng(7, id);
            Numbers values(rows[id].size());
            for (double& v : values) v = rng.normal() / 4 + rows[id].mean;
            model.set_values(id, values);
        }
        const Optimizer<Real> optimizer(model, {});
        save_checkpoint<Real>(folder / "", model, optimizer, {}, 0);
        run.model = config;
        run.init_from = folder / "step-00000000";
        run.export_hf = folder / "exported";
        run.seq = 77;
    }

    std::string write(size_t part_bytes = largest_part) const { return export_hf(run, part_bytes); }
    std::string operator/(const std::string& name) const { return run.export_hf + "/" + name; }
    Json json(const std::string& name) const { return Json::parse(read(*this / name)); }
    bool has(const std::string& name) const { return fs::exists(*this / name); }

    // Of the tensor that we call `name`, and of the one that they do.
    Numbers ours(const std::string& name) const {
        const std::vector<Tensor>& rows = model.table().rows;
        const auto found = std::ranges::find_if(rows, [&](auto& t) { return t.name == name; });
        REQUIRE(found != rows.end());
        return model.values(static_cast<int>(found - rows.begin()));
    }
    Numbers theirs(const std::string& name) const {
        const SafetensorsFile file(*this / "model.safetensors");
        REQUIRE(file.find(name));
        const TensorInfo& info = *file.find(name);
        std::vector<char> bytes(info.bytes());
        file.read(info, bytes.data());
        if (info.dtype == "BF16") return as_numbers<bf16>(bytes);
        REQUIRE(info.dtype == "F32");
        return as_numbers<float>(bytes);
    }

    const TemporaryDirectory folder;
    Model<Real> model;
    RunConfig run;

  private:
    template <class Number>
    static Numbers as_numbers(const std::vector<char>& bytes) {
        std::vector<Number> numbers(bytes.size() / sizeof(Number));
        std::memcpy(numbers.data(), bytes.data(), bytes.size());
        return {numbers.begin(), numbers.end()};
    }
};

}  // namespace peri
