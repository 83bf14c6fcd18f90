// The whole model: that it learns, repeats its bits, and takes the memory that was planned.
#include <cmath>

#include "catch.h"
#include "compare.h"
#include "helpers.h"
#include "model_cases.h"
#include "optimizer.h"
#include "random.h"

using namespace peri;

namespace {

ModelConfig sized(const std::string& size_name, const std::string& norm, int vocab) {
    ModelConfig c = model_of(find_size(size_name));
    c.norm = norm;
    c.vocab = vocab;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

Batch batch_of(int B, int T, int vocab, uint64_t seed) {
    Rng rng(seed);
    Batch batch{B, T, {}, {}};
    for (int i = 0; i < B * T + 1; i++) {
        const int token = static_cast<int>(rng.below(vocab));
        if (i < B * T) batch.tokens.push_back(token);
        if (i > 0) batch.targets.push_back(token);
    }
    return batch;
}

template <class Real>
double train_step(Model<Real>& model, Optimizer<Real>& optimizer, double lr, int tokens) {
    model.zero_loss();
    model.zero_gradients();
    model.forward();
    model.backward(tokens);
    optimizer.step(lr);
    return model.loss();
}

// The loss after 300 steps on one sequence.
template <class Real>
double loss_by_heart(const std::string& norm) {
    Model<Real> model(sized("tiny", norm, 256), 1, 31);
    model.initialise(1);
    model.load(batch_of(1, 31, 256, 4));
    Optimizer<Real> optimizer(model, {});
    double loss = NAN;
    for (int step = 1; step <= 300; step++)
        loss = train_step(model, optimizer, 3e-3 * std::min(1.0, step / 50.0), 31);
    return loss;
}

template <class Real>
std::vector<std::vector<double>> all_values(const Model<Real>& model) {
    std::vector<std::vector<double>> values;
    for (size_t id = 0; id < model.table().rows.size(); id++)
        values.push_back(model.values(static_cast<int>(id)));
    return values;
}

template <class Real>
void check_same_bits(const std::string& size) {
    std::vector<std::vector<double>> runs[2];
    for (auto& weights : runs) {
        Model<Real> model(sized(size, "peri", 256), 3, 37);
        model.initialise(7);
        Optimizer<Real> optimizer(model, {});
        for (int step = 1; step <= 3; step++) {
            model.load(batch_of(3, 37, 256, step));
            train_step(model, optimizer, 1e-2, 3 * 37);
        }
        weights = all_values(model);
    }
    CHECK(runs[0] == runs[1]);
    Model<Real> untrained(sized(size, "peri", 256), 3, 37);
    untrained.initialise(7);
    CHECK(runs[0][0] != untrained.values(0));
}

// Forward and backward of two models with the same weights, those that Real can hold.
template <class Real>
void run_both(Model<Real>& narrow, Model<double>& wide) {
    for (int id = 0; id < static_cast<int>(wide.table().rows.size()); id++) {
        narrow.set_values(id, initial_values(wide.table().rows[id], 3, id));
        wide.set_values(id, narrow.values(id));
    }
    const auto run = [](auto& model) {
        model.load(batch_of(2, 31, 101, 8));
        model.forward();
        model.backward(62);
    };
    run(wide);
    run(narrow);
}

}  // namespace

// With a head of standard deviation 0.02 all tokens are about equally likely: logits have one of
// 0.02 sqrt(32) = 0.11, the mean over 132 targets one of 0.01. Five of that are 0.01 ln V.
TEST_CASE("the first loss is ln V", "[model]") {
    for (const std::string& norm : placement_names()) {
        ModelConfig config = sized("tiny", norm, 256);
        config.init = {Init::normal, 0.02};
        Model<float> model(config, 4, 33);
        model.initialise(1);
        model.load(batch_of(4, 33, 256, 3));
        model.zero_loss();
        model.forward();
        model.evaluate(4 * 33);
        CAPTURE(norm, model.loss());
        CHECK(model.loss() == about(std::log(256), 0.01));
    }
}

TEST_CASE("every placement learns one sequence by heart", "[model]") {
    const Threads one(1);  // these models are too small to share
    for (const std::string& norm : placement_names()) {
        const double loss = loss_by_heart<float>(norm);
        CAPTURE(norm, loss);
        CHECK(loss < 0.1);
    }
    const double loss = loss_by_heart<bf16>("peri");
    CAPTURE(loss);
    CHECK(loss < 0.1);
}

TEST_CASE("same seed and threads: identical bits", "[model]") {
    warn_of_one_thread();
    for (const std::string size : {"tiny", "small"})
        for (const int threads : {1, 2}) {
            const Threads only(threads);
            CAPTURE(size, threads);
            check_same_bits<float>(size);
            check_same_bits<bf16>(size);
        }
}

// Gradients of one step, tensor by tensor.
template <class Real>
std::vector<std::vector<double>> gradients_with(ModelConfig config, Recompute recompute) {
    config.recompute = recompute;
    Model<Real> model(config, 2, 9);
    model.initialise(3);
    model.load(batch_of(2, 9, 256, 1));
    model.zero_loss();
    model.zero_gradients();
    model.forward();
    model.backward(18);
    std::vector<std::vector<double>> result;
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        result.push_back(model.gradient_values(id));
    return result;
}

TEST_CASE("what is computed again has the bits of what is kept", "[model]") {
    std::vector<std::string> norms = placement_names();
    norms.push_back("peri:1,simple:1,post:1,olmo2:1");
    for (const std::string& norm : norms)
        for (const bool layernorm : {false, true})
            for (const Recompute recompute : {Recompute::norms, Recompute::sublayers}) {
                ModelConfig config = sized("tiny", norm, 256);
                config.layernorm = layernorm;
                CAPTURE(norm, layernorm, static_cast<int>(recompute));
                const auto kept = gradients_with<float>(config, Recompute::none);
                CHECK(gradients_with<float>(config, recompute) == kept);
                CHECK(largest(kept[0]) > 0);
            }
    const ModelConfig peri = sized("tiny", "peri", 256);
    CHECK(gradients_with<bf16>(peri, Recompute::sublayers) ==
          gradients_with<bf16>(peri, Recompute::none));
}

// Of 12 layers of Peri-LN, per row and in floats, C = 128 and F = 3 C: attention keeps x~, q, k, v,
// the context, a and y, the MLP x~, gate, up, h, a and y.
TEST_CASE("memory of what is computed again", "[model]") {
    ModelConfig config = sized("small", "peri", 256);
    const auto activations = [&](Recompute recompute) {
        config.recompute = recompute;
        return plan_memory<float>(config, 16, 128, 2).activations;
    };
    const size_t RC = size_t(16) * 128 * 128 * sizeof(float), stats = size_t(16) * 128 * 4;
    const size_t all = activations(Recompute::none);
    // x~ twice and h once a layer; x~ and h once for all
    CHECK(all - activations(Recompute::norms) == 12 * 5 * RC - 4 * RC);
    // all but y twice a layer, with two norms' rstd and lse; the MLP's once for all
    CHECK(all - activations(Recompute::sublayers) ==
          12 * (17 * RC + 8 * stats) - (11 * RC + 2 * stats));
}

// Masters that were not the weights would show in the first update.
TEST_CASE("a step at learning rate 0 changes no weight", "[model]") {
    for (const bool sgd : {false, true}) {
        Model<bf16> model(sized("tiny", "peri", 256), 2, 9);
        model.initialise(3);
        const auto before = all_values(model);
        OptimizerSettings settings;
        settings.sgd = sgd;
        Optimizer<bf16> optimizer(model, settings);
        model.load(batch_of(2, 9, 256, 1));
        train_step(model, optimizer, 0, 18);
        CAPTURE(sgd);
        CHECK(optimizer.gradient_norm() > 0);
        CHECK(all_values(model) == before);
    }
}

// k = 32 roundings along the model's depth, each relative to the tensor's largest gradient.
TEST_CASE("float model against double model", "[model]") {
    for (const std::string& norm : placement_names()) {
        const ModelConfig config = sized("tiny", norm, 101);
        Model<double> wide(config, 2, 31);
        Model<float> narrow(config, 2, 31);
        run_both(narrow, wide);
        CHECK(narrow.loss() == near(wide.loss(), 1e-5));
        for (size_t id = 0; id < wide.table().rows.size(); id++) {
            const int i = static_cast<int>(id);
            const std::vector<double> expected = wide.gradient_values(i);
            const double tolerance = roundings<float>(64) * std::sqrt(62 * 2) * largest(expected);
            CAPTURE(norm, wide.table().rows[id].name);
            CHECK(difference(narrow.gradient_values(i), expected, tolerance) == "");
        }
    }
}

// Every array on the way is rounded by up to 2^-8 of each number, at random: errors add up like the
// root of their count. Logits of about 1 then err by about 2^-8 each, and the mean over the targets
// by the root of their number less: twice that is allowed. Of a gradient's length 0.029 was
// measured, in SimpleNorm's norm of keys, whose gradient is what two larger ones leave: four times
// that is allowed.
TEST_CASE("bf16 model against double model", "[model]") {
    const auto length = [](const std::vector<double>& v) { return std::sqrt(dot(v, v)); };
    for (const std::string& norm : placement_names()) {
        const ModelConfig config = sized("tiny", norm, 101);
        Model<double> wide(config, 2, 31);
        Model<bf16> narrow(config, 2, 31);
        run_both(narrow, wide);
        CAPTURE(norm);
        CHECK(narrow.loss() == near(wide.loss(), 2 * 0x1p-8 / std::sqrt(2 * 31)));
        for (int id = 0; id < static_cast<int>(wide.table().rows.size()); id++) {
            const std::vector<double> expected = wide.gradient_values(id);
            std::vector<double> error = narrow.gradient_values(id);
            for (size_t i = 0; i < error.size(); i++) error[i] -= expected[i];
            CAPTURE(wide.table().rows[id].name);
            CHECK(length(error) == near(0, 0.12 * length(expected)));
        }
    }
}

TEST_CASE("bf16 halves matrices and activations and adds masters", "[model]") {
    const ModelConfig config = sized("small", "peri", 256);
    const MemoryPlan wide = plan_memory<float>(config, 16, 128, 2);
    const MemoryPlan half = plan_memory<bf16>(config, 16, 128, 2);
    size_t matrices = 0;  // every size is a multiple of 64 bytes: nothing is padded
    for (const Tensor& tensor : tensor_table(config).rows)
        if (tensor.is_matrix()) matrices += tensor.size();
    CHECK(half.weights == wide.weights - 2 * matrices);
    CHECK(half.gradients == wide.gradients);
    CHECK(half.optimizer == wide.optimizer + wide.gradients);
    const double share = static_cast<double>(half.activations) / wide.activations;
    CHECK((share > 0.5 && share < 0.52));  // tokens and what is kept a row stay as wide
}

TEST_CASE("a smaller batch than the model was made for", "[model]") {
    Model<float> model(sized("tiny", "peri", 256), 4, 33), exact(sized("tiny", "peri", 256), 2, 9);
    for (Model<float>* m : {&model, &exact}) {
        m->initialise(2);
        m->load(batch_of(2, 9, 256, 1));
        m->forward();
        m->evaluate(18);
    }
    CHECK(model.loss() == exact.loss());
    CHECK(model.next_token_logits() == exact.next_token_logits());
}

// Forward is the same; all that backward alone needs is not there.
TEST_CASE("a model for inference has no gradients", "[model]") {
    for (const char* const norm : {"peri", "post"}) {
        const ModelConfig config = sized("tiny", norm, 256);
        const MemoryPlan full = plan_memory<float>(config, 4, 33, 2);
        const MemoryPlan less = plan_memory<float>(config, 4, 33, 2, Purpose::inference);
        CHECK((less.gradients == 0 && less.optimizer == 0 && less.weights == full.weights));
        CHECK(less.activations < full.activations / 2);  // test_fit.cpp: what a layer needs
        Model<float> training(config, 4, 33), inference(config, 4, 33, Purpose::inference);
        for (Model<float>* m : {&training, &inference}) {
            m->initialise(2);
            m->load(batch_of(4, 33, 256, 1));
            m->forward();
            m->evaluate(4 * 33);
        }
        CHECK(inference.loss() == training.loss());
        CHECK(inference.gradient(0) == nullptr);
        CHECK(inference.next_token_logits() == training.next_token_logits());
    }
}

TEST_CASE("the paper's sizes", "[model]") {
    const auto millions = [](const char* size) {
        const TensorTable t = tensor_table(sized(size, "pre", 100277));
        return 1e-6 * static_cast<double>(t.parameters() - t.embedding_parameters());
    };
    CHECK(millions("400m") == near(384, of_format(0.5)));
    CHECK(millions("1.5b") == near(1535, of_format(0.5)));
    CHECK(millions("3.2b") == near(3198, of_format(0.5)));
    const MemoryPlan plan = plan_memory<float>(sized("3.2b", "peri", 100277), 1, 8192, 2);
    CHECK(plan.optimizer == 2 * plan.gradients);
    CHECK(plan.weights >= size_t(4 * 3.2e9));
    CHECK(plan.activations > plan.weights);  // fp32, every sub-layer kept, no recompute
}
