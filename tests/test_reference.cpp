// The model against reference/peri.cpp, which was written apart from it and shares no code with it:
// initial values, batches, losses, every gradient, and a training of 20 steps.
#include <sys/wait.h>

#include "accumulate.h"
#include "catch.h"
#include "compare.h"
#include "data/data.h"
#include "model_cases.h"
#include "optimizer.h"
#include "program.h"
#include "schedule.h"

#define REAL double
#define REFERENCE_AS_LIBRARY
#include "../reference/peri.cpp"

using namespace peri;

namespace {

// Both compute the same formulas in double (unit roundoff 1.1e-16) and differ in the order of sums
// alone. A number of these small models is behind at most about 400 roundings: four sub-layers, each
// of some six maps whose sums have up to 19 terms. So a loss, which is well conditioned, may differ
// by 400 x 1.1e-16 = 5e-14; 1e-12 leaves a factor of 20. Gradients come twice as far, and each norm
// on the way may lose a digit where its input is small: 1e-10 of the tensor's largest entry leaves a
// factor of 1,000. Twenty steps of Adam start from gradients that agree so; the update m / sqrt(v)
// magnifies what entries far below the largest have lost: 1e-9 of the loss.
constexpr double loss_tolerance = 1e-12, gradient_tolerance = 1e-10, training_tolerance = 1e-9;

std::string loss_difference(double got, double expected, double relative) {
    return difference({got}, {expected}, relative * std::abs(expected));
}

std::string gradient_difference(const std::vector<double>& got,
                                const std::vector<double>& expected) {
    return difference(got, expected, gradient_tolerance * largest(expected));
}

reference::Config reference_config(const ModelCase& c) {
    const auto word = [](Choice choice) {
        return choice == Choice::automatic ? "auto" : choice == Choice::on ? "on" : "off";
    };
    const ModelConfig m = c.config();
    reference::Config r;
    r.layers = m.layers;
    r.width = m.width;
    r.heads = m.heads;
    r.kv_heads = m.kv_heads;
    r.ffn = m.ffn;
    r.vocab = m.vocab;
    r.norm = c.norm;
    r.qk_norm = c.qk_norm;
    r.embedding_norm = word(c.embedding_norm);
    r.final_norm = word(c.final_norm);
    r.layernorm = c.layernorm;
    r.freeze_output_gamma = c.freeze;
    r.norm_eps = c.eps;
    r.z_loss = c.z_loss;
    r.document_mask = c.documents;
    r.separator = m.separator;
    return r;
}

reference::Batch reference_batch(const Batch& b) { return {b.B, b.T, b.tokens, b.targets}; }

reference::Tensor& find(reference::Model& model, const std::string& name) {
    for (reference::Tensor& tensor : model.tensors)
        if (tensor.name == name) return tensor;
    throw std::runtime_error("the reference has no tensor " + name);
}

Batch batch_of(const ModelCase& c, uint64_t seed) {
    Batch batch = random_batch(17, seed);
    if (c.documents)
        for (const int r : separators) batch.tokens[r] = 3;
    return batch;
}

// Every placement with every option that it takes.
std::vector<ModelCase> cases() {
    std::vector<ModelCase> list;
    for (const std::string& norm : placement_names()) {
        const bool simple = norm == "simple";
        const bool output = simple || norm == "peri" || norm == "output" || norm == "olmo2";
        list.push_back({norm});
        list.push_back({.norm = norm, .grouped = true, .z_loss = 0.1, .documents = true});
        list.push_back({.norm = norm,
                        .embedding_norm = Choice::on,
                        .final_norm = Choice::on,
                        .layernorm = true,
                        .grouped = true});
        list.push_back({.norm = norm,
                        .qk_norm = simple ? "auto" : "head",
                        .embedding_norm = Choice::off,
                        .final_norm = Choice::off,
                        .freeze = output,
                        .grouped = true,
                        .eps = 0.1});
        list.push_back({.norm = norm,
                        .qk_norm = simple ? "auto" : "full",
                        .layernorm = true,
                        .freeze = output,
                        .grouped = true,
                        .z_loss = 0.01});
        list.push_back({.norm = norm, .qk_norm = simple ? "auto" : "none", .documents = true});
    }
    return list;
}

}  // namespace

TEST_CASE("reference: the same initial values, to the bit", "[reference]") {
    for (const bool layernorm : {false, true})
        for (const std::string& norm : placement_names()) {
            const ModelCase c = {.norm = norm, .layernorm = layernorm, .grouped = true};
            INFO(c.name());
            Model<double> model(c.config(), B, T);
            reference::Model other(reference_config(c));
            model.initialise(7);
            other.initialise(7);
            const std::vector<Tensor>& rows = model.table().rows;
            REQUIRE(rows.size() == other.tensors.size());
            for (int id = 0; id < static_cast<int>(rows.size()); id++) {
                INFO(rows[id].name);
                CHECK(other.tensors[id].name == rows[id].name);
                CHECK(bit_difference(other.tensors[id].value, model.values(id)) == "");
            }
        }
}

TEST_CASE("reference: the same batches of a text", "[reference]") {
    const TemporaryDirectory folder;
    std::string text;
    Rng rng(3);
    for (int i = 0; i < 997; i++) text += static_cast<char>(rng.below(256));
    const std::unique_ptr<Data> data = open_data(folder.write("text", text), "", 13);
    for (int step = 1; step <= 20; step++) {
        const Batch batch = data->training(5, step, 3, 13);
        const reference::Batch other =
            reference::training_batch({text.begin(), text.end()}, 5, step, 3, 13);
        CHECK(other.tokens == batch.tokens);
        CHECK(other.targets == batch.targets);
    }
}

TEST_CASE("reference: the same loss and gradients", "[reference]") {
    double worst_loss = 0, worst_gradient = 0;
    for (const ModelCase& c : cases()) {
        INFO(c.name());
        Model<double> model(c.config(), B, T);
        randomise(model, 11);
        const Batch batch = batch_of(c, 12);
        model.load(batch);
        const std::vector<std::vector<double>> gradients = gradients_of(model);
        const std::vector<Tensor>& rows = model.table().rows;
        reference::Model other(reference_config(c));
        REQUIRE(other.tensors.size() == rows.size());
        for (int id = 0; id < static_cast<int>(rows.size()); id++)
            find(other, rows[id].name).value = model.values(id);
        const double loss = other.forward(reference_batch(batch));
        other.backward();

        CHECK(loss_difference(model.loss(), loss, loss_tolerance) == "");
        worst_loss = std::max(worst_loss, std::abs(model.loss() / loss - 1));
        for (int id = 0; id < static_cast<int>(rows.size()); id++) {
            INFO(rows[id].name);
            const reference::Tensor& tensor = find(other, rows[id].name);
            REQUIRE(tensor.trained == rows[id].trained);
            if (!tensor.trained) continue;
            CHECK(largest(tensor.gradient) > 1e-6);
            CHECK(gradient_difference(gradients[id], tensor.gradient) == "");
            for (size_t i = 0; i < gradients[id].size(); i++)
                worst_gradient =
                    std::max(worst_gradient, std::abs(gradients[id][i] - tensor.gradient[i]) /
                                                 largest(tensor.gradient));
        }
    }
    if (std::getenv("VERBOSE"))
        std::printf("worst errors: loss %.2g, gradient %.2g\n", worst_loss, worst_gradient);
}

TEST_CASE("reference: one gradient off by a millionth is seen", "[reference]") {
    const std::vector<double> exact = {0.5, -2, 1e-3};
    CHECK(gradient_difference(exact, exact) == "");
    for (size_t i = 0; i < 2; i++) {
        std::vector<double> off = exact;
        off[i] *= 1 + 1e-6;
        CHECK(gradient_difference(off, exact) != "");
    }
    std::vector<double> whole = exact;
    for (double& g : whole) g *= 1 + 1e-6;
    CHECK(gradient_difference(whole, exact) != "");
    CHECK(gradient_difference({0.5, NAN, 1e-3}, exact) != "");
    CHECK(loss_difference(NAN, 1, loss_tolerance) != "");
}

TEST_CASE("reference: the same losses over 20 steps of training", "[reference]") {
    constexpr int steps = 20;
    double worst = 0;
    for (const std::string& norm : placement_names()) {
        const ModelCase c = {.norm = norm, .grouped = true, .z_loss = 1e-3, .documents = true};
        Model<double> model(c.config(), B, T);
        reference::Model other(reference_config(c));
        model.initialise(1);
        other.initialise(1);
        Optimizer<double> optimizer(model, {});
        Schedule schedule;
        schedule.max_lr = 1e-2;
        schedule.steps = steps;
        for (int step = 1; step <= steps; step++) {
            INFO(norm << " step " << step);
            const Batch batch = batch_of(c, step);
            const double lr = reference::learning_rate(1e-2, step, steps);
            CHECK(lr == near(learning_rate(schedule, step), roundings(16) * schedule.max_lr));
            model.zero_loss();
            model.zero_gradients();
            forward_backward(model, batch, B);
            optimizer.step(learning_rate(schedule, step));
            const double loss = other.forward(reference_batch(batch));
            other.backward();
            const double norm = reference::adamw(other.tensors, lr, 0.033, 1, step);
            CHECK(loss_difference(model.loss(), loss, training_tolerance) == "");
            CHECK(loss_difference(optimizer.gradient_norm(), norm, 100 * training_tolerance) == "");
            worst = std::max(worst, std::abs(model.loss() / loss - 1));
        }
    }
    if (std::getenv("VERBOSE")) std::printf("worst error of a loss in training: %.2g\n", worst);
}

namespace {

// The losses that a program has printed.
std::vector<double> losses(const std::string& text) {
    std::vector<double> list;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        if (const size_t at = line.find("  loss "); line.starts_with("step ") && at != line.npos)
            list.push_back(std::stod(line.substr(at + 7)));
    return list;
}

}  // namespace

// As the conformance suite asks of the kernels: a row that has exploded is no calm row of zeros.
TEST_CASE("reference: a norm whose squares overflow is NaN", "[reference]") {
    reference::Tensor gamma = {};
    gamma.cols = 3;
    gamma.value = {1, 1, 1};
    for (const bool layernorm : {false, true}) {
        reference::Tensor beta = gamma;
        reference::Norm norm = {.gamma = &gamma, .beta = layernorm ? &beta : nullptr, .eps = 1e-5};
        reference::Array y;
        norm_forward(y, {1e200, 1, -1e200}, norm);
        for (const double v : y) CHECK(std::isnan(v));
    }
}

TEST_CASE("reference: ./single and ./train print the same losses", "[reference][program]") {
    const char* const given = std::getenv("SINGLE");
    const std::string single = given ? given : "./single";
    if (!std::getenv("TRAIN") || !fs::exists(single)) {
        WARN("skipped: TRAIN is not set or " + single + " is not there (make single)");
        return;
    }
    const TemporaryDirectory folder;
    std::string words;
    for (int i = 0; i < 2000; i++) words += "word " + std::to_string(i * i) + "\n";
    const std::string text = folder.write("text", words);
    const std::string shape = " --layers 2 --width 24 --heads 2 --ffn 40 --seq 32 --batch 4";
    const Result r = train(folder, "--data " + text + shape + " --steps 10 --val-every 0 --out " +
                                       folder / "run" + " --probe-every 0 --save-every 0");
    REQUIRE(r.code == 0);
    const std::string command = single + " " + text + shape + " --steps 10 > " + folder / "single";
    REQUIRE(std::system(command.c_str()) == 0);
    const std::vector<double> expected = losses(r.out), got = losses(read(folder / "single"));
    CHECK(expected.size() == 10);
    // float, printed with four decimals: the last may be rounded either way, twice over
    CHECK(difference(got, expected, of_format(1e-4) + 1e-4) == "");
}
