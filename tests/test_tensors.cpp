// How models start: the table's standard deviations, and the draws themselves.
#include <cmath>

#include "catch.h"
#include "compare.h"
#include "helpers.h"
#include "model_cases.h"
#include "random.h"
#include "tensors.h"
#include "tolerance.h"

using namespace peri;

namespace {

TensorTable table_of(const std::string& norm, const std::string& init = "auto") {
    ModelConfig c = model_of(find_size("small"));
    c.norm = norm;
    c.layers = 2;
    c.init = parse_init(init);
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return tensor_table(c);
}

const Tensor& row(const TensorTable& table, const std::string& name) {
    for (const Tensor& tensor : table.rows)
        if (tensor.name == name) return tensor;
    FAIL("no tensor " << name);
    return table.rows[0];
}

}  // namespace

TEST_CASE("Table 2's initialisation: 0.02 everywhere, gammas 1", "[tensors]") {
    for (const char* norm : {"post", "pre", "peri", "output", "input-main", "olmo2", "keel", "mix"})
        for (const Tensor& tensor : table_of(norm).rows) {
            CAPTURE(norm, tensor.name);
            CHECK(tensor.std == (tensor.is_matrix() ? 0.02 : 0));
            CHECK(tensor.mean == (tensor.is_matrix() ? 0 : 1));
            CHECK(tensor.decayed == tensor.is_matrix());
            CHECK(tensor.cut == 0);
        }
}

TEST_CASE("DeepNorm's initialisation: v, o and the MLP times (8L)^(-1/4)", "[tensors]") {
    const TensorTable table = table_of("deep");
    const double gain = 0.5;  // 16^(-1/4)
    for (const char* name : {"attention.v", "attention.o", "mlp.gate", "mlp.up", "mlp.down"})
        CHECK(row(table, std::string("layers.1.") + name + ".weight").std == about(0.02 * gain));
    for (const char* name : {"layers.1.attention.q.weight", "layers.1.attention.k.weight",
                             "embedding.weight", "head.weight"})
        CHECK(row(table, name).std == 0.02);
}

TEST_CASE("SimpleNorm's initialisation", "[tensors]") {
    const TensorTable table = table_of("simple");
    CHECK(row(table, "embedding.weight").std == 1);
    CHECK(row(table, "head.weight").std == about(1 / std::sqrt(128)));
    CHECK(row(table, "head.weight").cut == 3);
    for (int layer = 0; layer < 2; layer++) {
        const std::string name = "layers." + std::to_string(layer) + ".";
        for (const char* in : {"attention.q", "attention.k", "attention.v", "mlp.gate"})
            CHECK(row(table, name + in + ".weight").std == 0.02);
        for (const char* out : {"attention.o", "mlp.up", "mlp.down"})
            CHECK(row(table, name + out + ".weight").std ==
                  about(0.02 / std::sqrt(2 * (layer + 1))));
    }
}

TEST_CASE("--init", "[tensors]") {
    for (const char* norm : {"peri", "simple", "deep"}) {
        for (const Tensor& t : table_of(norm, "normal:0.5").rows)
            if (t.is_matrix()) CHECK((t.std == 0.5 && t.cut == 0));
        for (const Tensor& t : table_of(norm, "d:10").rows)  // d is the model width for all
            if (t.is_matrix()) CHECK(t.std == about(std::sqrt(10.0 / 128)));
        CHECK(row(table_of(norm, "xavier"), "layers.0.mlp.up.weight").std ==
              about(std::sqrt(2.0 / (128 + 384))));
    }
    CHECK(table_of("peri", "he").rows[0].std == table_of("peri", "d:2").rows[0].std);
    CHECK(table_of("peri", "lecun").rows[0].std == table_of("peri", "d:1").rows[0].std);
}

TEST_CASE("--embedding-init is the embedding's alone", "[tensors]") {
    for (const char* const norm : {"pre", "simple"})
        for (const char* const init : {"auto", "xavier"}) {
            ModelConfig c = model_of(find_size("tiny"));
            c.norm = norm;
            c.init = parse_init(init);
            resolve(c, "auto", Choice::automatic, Choice::automatic);
            const TensorTable plain = tensor_table(c);
            c.embedding_std = 3;
            const TensorTable table = tensor_table(c);
            for (size_t id = 0; id < table.rows.size(); id++)
                CHECK(table.rows[id].std == (int(id) == table.embedding ? 3 : plain.rows[id].std));
        }
}

// Norms divide by the states' size: with next to no eps the function is the same, and states are 8 times as large.
TEST_CASE("--state-scale changes hidden states and not the function", "[tensors]") {
    for (const char* const norm : {"pre", "peri", "simple", "pre:1,peri:1"})
        for (const Choice embedding_norm : {Choice::automatic, Choice::on}) {
            const auto run = [&](double scale) {
                ModelConfig c = model_of(find_size("tiny"));
                c.norm = norm;
                c.layers = 2;
                c.norm_eps = 1e-13;
                c.state_scale = scale;
                resolve(c, "auto", embedding_norm, Choice::automatic);
                Model<double> model(c, B, T);
                model.initialise(5);
                model.load(random_batch(c.vocab, 1));
                const double loss = loss_of(model);
                return std::pair(loss, model.hidden_state(3));
            };
            const auto [loss, state] = run(1);
            auto [scaled_loss, scaled_state] = run(8);
            for (double& x : scaled_state) x /= 8;
            CAPTURE(norm);
            // eps is 1e-9 of the smallest mean square, 4e-4 / 128 of a token
            CHECK(scaled_loss == near(loss, 1e-7));
            CHECK(difference(scaled_state, state, 1e-6 * largest(state)) == "");
        }
    for (const char* const norm :
         {"post", "keel", "input-main", "output", "olmo2", "pre:1,post:1"}) {
        ModelConfig c = model_of(find_size("tiny"));
        c.norm = norm;
        c.state_scale = 2;
        CHECK_THROWS_AS(resolve(c, "auto", Choice::automatic, Choice::automatic), UserError);
    }
}

TEST_CASE("initial values have the table's deviation, and are a function of (seed, row)",
          "[tensors]") {
    const TensorTable table = table_of("simple");
    const Tensor& head = row(table, "head.weight");
    const std::vector<double> values = initial_values(head, 1, 7);
    double sum = 0, squares = 0, most = 0;
    for (const double v : values) {
        sum += v / static_cast<double>(values.size());
        squares += v * v / static_cast<double>(values.size());
        most = std::max(most, std::abs(v));
    }
    CHECK(sum == near(0, 4 * head.std / std::sqrt(values.size())));
    // cutting a normal at 3 sigma leaves 0.9866 of its deviation; 4 standard errors
    CHECK(std::sqrt(squares) == about(0.9866 * head.std, 0.016));
    CHECK(most <= 3 * head.std);
    CHECK(most > 2.9 * head.std);
    CHECK(initial_values(head, 1, 7) == values);
    CHECK(initial_values(head, 2, 7) != values);
    CHECK(initial_values(head, 1, 8) != values);
}

TEST_CASE("initial values are the draws of one generator, in order, on any number of threads",
          "[tensors]") {
    const Tensor tensor = {"", 123,  457,  0.25, 0.02,
                           0,  true, true, 0};  // several blocks and a rest
    std::vector<double> expected;
    Rng rng(5, 3);
    while (expected.size() < tensor.size()) expected.push_back(0.25 + 0.02 * rng.normal());
    for (const int threads : {1, 2, 3}) {
        const Threads some(threads);
        CHECK(initial_values(tensor, 5, 3) == expected);
    }
}

TEST_CASE("--freeze-output-gamma: output norms, and no others, are not trained", "[tensors]") {
    ModelConfig c = model_of(find_size("small"));
    c.layernorm = c.freeze_output_gamma = true;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    for (const Tensor& t : tensor_table(c).rows)
        CHECK(t.trained == (t.name.find("output_norm") == std::string::npos));
}
