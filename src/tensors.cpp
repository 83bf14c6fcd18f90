#include "tensors.h"

#include <algorithm>
#include <cmath>

#include "device.h"
#include "random.h"

namespace peri {

namespace {

// Every tensor's gradient starts where an array may: on a multiple of 16 floats, or more.
size_t padded(size_t n) { return device_aligned(n * sizeof(float)) / sizeof(float); }

class Builder {
  public:
    explicit Builder(const ModelConfig& config) : config_(config) {}

    // A matrix (out,in) with the placement's own standard deviation, which --init overrides, times `scale`.
    int matrix(const std::string& name, int rows, int cols, double own_std, double scale = 1,
               double own_cut = 0) {
        const Init& init = config_.init;
        double std = own_std;
        if (init.kind == Init::normal) std = init.value;
        if (init.kind == Init::xavier) std = std::sqrt(2.0 / (rows + cols));
        if (init.kind == Init::width) std = std::sqrt(init.value / config_.width);
        return add({.name = name,
                    .rows = rows,
                    .cols = cols,
                    .std = scale * std,
                    .cut = init.kind == Init::own ? own_cut : 0,
                    .decayed = true});
    }

    NormIds norm(bool present, const std::string& name, int width, bool trained = true,
                 double gamma = 1) {
        if (!present) return {};
        NormIds ids;
        ids.gamma =
            add({.name = name + ".weight", .cols = width, .mean = gamma, .trained = trained});
        if (config_.layernorm)
            ids.beta = add({.name = name + ".bias", .cols = width, .trained = trained});
        return ids;
    }

    TensorTable table;

  private:
    int add(Tensor tensor) {
        tensor.offset = offset_;
        offset_ += padded(tensor.size());
        table.rows.push_back(tensor);
        return static_cast<int>(table.rows.size()) - 1;
    }

    const ModelConfig& config_;
    size_t offset_ = 0;
};

constexpr double usual = 0.02;  // Table 2

// Standard deviations of a sub-layer's matrices: q, k, gate, up; v; and those that write into the
// residual stream, o and down.
struct Stds {
    double in, value, out;
};

Stds own_stds(const SubLayer& s, int layers) {
    if (s.init == OwnInit::simple) return {usual, usual, usual / std::sqrt(2.0 * (s.layer + 1))};
    if (s.init == OwnInit::deepnorm) {
        const double gain = std::pow(8.0 * layers, -0.25);
        return {s.attention ? usual : usual * gain, usual * gain, usual * gain};
    }
    return {usual, usual, usual};
}

int qk_width(QkNorm qk, int full, int head) { return qk == QkNorm::full ? full : head; }

SubLayerIds add_sublayer(Builder& b, const ModelConfig& c, const SubLayer& s) {
    SubLayerIds ids;
    const std::string name =
        "layers." + std::to_string(s.layer) + (s.attention ? ".attention." : ".mlp.");
    const int C = c.width, D = c.head_size();
    const Stds std = own_stds(s, c.layers);
    const double of_writers = s.output_norm ? 1 : c.state_scale;  // of o and down
    ids.input_norm = b.norm(s.input_norm, name + "input_norm", C);
    if (s.attention) {
        const bool qk = s.qk != QkNorm::none;
        ids.q = b.matrix(name + "q.weight", C, C, std.in);
        ids.k = b.matrix(name + "k.weight", c.kv_width(), C, std.in);
        ids.v = b.matrix(name + "v.weight", c.kv_width(), C, std.value);
        ids.q_norm = b.norm(qk, name + "q_norm", qk_width(s.qk, C, D));
        ids.k_norm = b.norm(qk, name + "k_norm", qk_width(s.qk, c.kv_width(), D));
        ids.v_norm = b.norm(s.inner, name + "v_norm", c.kv_width());
        ids.o = b.matrix(name + "o.weight", C, C, std.out, of_writers);
    } else {
        ids.gate = b.matrix(name + "gate.weight", c.ffn, C, std.in);
        // SimpleNorm's up projection starts as its o and down do
        ids.up =
            b.matrix(name + "up.weight", c.ffn, C, s.init == OwnInit::simple ? std.out : std.in);
        ids.gate_norm = b.norm(s.inner, name + "gate_norm", c.ffn);
        ids.up_norm = b.norm(s.inner, name + "up_norm", c.ffn);
        ids.down = b.matrix(name + "down.weight", C, c.ffn, std.out, of_writers);
    }
    ids.output_norm =
        b.norm(s.output_norm, name + "output_norm", C, !c.freeze_output_gamma, c.state_scale);
    ids.main_norm = b.norm(s.main_norm, name + "main_norm", C);
    return ids;
}

}  // namespace

TensorTable tensor_table(const ModelConfig& c) {
    Builder b(c);
    TensorTable& t = b.table;
    t.vocab = c.vocab;
    t.width = c.width;
    const bool simple_first = c.placement.front().init == OwnInit::simple;
    const bool simple_last = c.placement.back().init == OwnInit::simple;
    const double of_embedding = c.embedding_norm ? 1 : c.state_scale;
    t.embedding = b.matrix("embedding.weight", c.vocab_rows(), c.width, simple_first ? 1 : usual,
                           of_embedding);
    if (c.embedding_std > 0) t.rows[t.embedding].std = c.embedding_std * of_embedding;
    t.embedding_norm = b.norm(c.embedding_norm, "embedding_norm", c.width, true, c.state_scale);
    for (const SubLayer& s : sublayers(c.placement)) t.sublayers.push_back(add_sublayer(b, c, s));
    t.final_norm = b.norm(c.final_norm, "final_norm", c.width);
    const double head_std = simple_last ? 1 / std::sqrt(double(c.width)) : usual;
    t.head = b.matrix("head.weight", c.vocab_rows(), c.width, head_std, 1, simple_last ? 3 : 0);
    return t;
}

size_t TensorTable::gradient_numbers() const {
    return rows.back().offset + padded(rows.back().size());
}

size_t TensorTable::parameters() const {
    size_t sum = embedding_parameters();
    for (int i = 0; i < static_cast<int>(rows.size()); i++)
        if (i != embedding && i != head) sum += rows[i].size();
    return sum;
}

size_t TensorTable::embedding_parameters() const { return 2 * size_t(vocab) * width; }

std::vector<double> initial_values(const Tensor& tensor, uint64_t seed, int row) {
    std::vector<double> values(tensor.size(), tensor.mean);
    if (tensor.std == 0) return values;
    const Rng first(seed, row);
    // A value takes two random numbers, so that a thread can begin at any; where those beyond the
    // cut are drawn again some take more, and one thread draws them all.
    const size_t n = values.size(), block = tensor.cut > 0 ? n : 1 << 14;
#pragma omp parallel for schedule(static)
    for (size_t start = 0; start < n; start += block) {
        Rng rng = first;
        rng.skip(2 * start);
        for (size_t i = start; i < std::min(n, start + block); i++) {
            double z = rng.normal();
            while (tensor.cut > 0 && std::abs(z) > tensor.cut) z = rng.normal();
            values[i] += tensor.std * z;
        }
    }
    return values;
}

}  // namespace peri
