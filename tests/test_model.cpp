// The whole model against finite differences, for every placement and every option.
#include <cmath>
#include <set>
#include <tuple>

#include "catch.h"
#include "compare.h"
#include "helpers.h"
#include "model.h"
#include "models.h"
#include "optimizer.h"
#include "random.h"

using namespace peri;

namespace {

const std::vector<std::string> all_placements = {"post",  "pre",  "peri",   "output", "input-main",
                                                 "olmo2", "keel", "simple", "mix",    "deep"};

// What a test of the model is run with, and its name in failures.
struct Case {
    std::string norm;
    std::string qk_norm = "auto";
    Choice embedding_norm = Choice::automatic, final_norm = Choice::automatic;
    bool layernorm = false, freeze = false, grouped = false;
    double eps = 1e-5, z_loss = 0;
    bool documents = false;

    std::string name() const {
        const auto word = [](Choice c) {
            return c == Choice::automatic ? "auto" : c == Choice::on ? "on" : "off";
        };
        return norm + " qk-norm " + qk_norm + " embedding-norm " + word(embedding_norm) +
               " final-norm " + word(final_norm) + (layernorm ? " layernorm" : "") +
               (freeze ? " frozen gamma" : "") + (grouped ? " grouped heads" : "") +
               (z_loss > 0 ? " z-loss" : "") + (documents ? " documents" : "");
    }

    // Odd on purpose: no width is a multiple of 8, the vocabulary is padded.
    ModelConfig config() const {
        ModelConfig c;
        c.norm = norm;
        c.layers = 2;
        c.width = 12;
        c.heads = 2;
        c.kv_heads = grouped ? 1 : 2;
        c.ffn = 19;
        c.vocab = 17;
        c.norm_eps = eps;
        c.z_loss = z_loss;
        c.layernorm = layernorm;
        c.freeze_output_gamma = freeze;
        c.document_mask = documents;
        c.separator = 3;
        resolve(c, qk_norm, embedding_norm, final_norm);
        return c;
    }
};

constexpr int B = 2, T = 5, unlabelled[] = {3, 7}, labelled = 8;
constexpr int separators[] = {2, 5, 8,
                              9};  // the rows at which documents begin, where there are any

Batch random_batch(int vocab, uint64_t seed) {
    Rng rng(seed);
    Batch batch{B, T, {}, {}};
    for (int i = 0; i < B * T; i++) {
        batch.tokens.push_back(static_cast<int>(rng.below(vocab)));
        batch.labels.push_back(static_cast<int>(rng.below(vocab)));
    }
    for (const int r : unlabelled) batch.labels[r] = -1;
    return batch;
}

// z_loss (log Z)^2 / labelled, summed over the rows with a label; after forward
double z_term(const Model<double>& model) {
    const size_t C = model.config().width;
    const std::vector<double> x = model.hidden_state(model.sublayer_count() + 1);
    const std::vector<double> head = model.values(model.table().head);
    double sum = 0;
    for (int r = 0; r < B * T; r++) {
        if (r == unlabelled[0] || r == unlabelled[1]) continue;
        double Z = 0;
        for (int v = 0; v < model.config().vocab; v++) {
            double logit = 0;
            for (size_t c = 0; c < C; c++) logit += x[r * C + c] * head[v * C + c];
            Z += std::exp(logit);
        }
        sum += std::log(Z) * std::log(Z);
    }
    return model.config().z_loss * sum / labelled;
}

// All that backward differentiates.
double loss_of(Model<double>& model) {
    model.zero_loss();
    model.forward();
    model.evaluate(labelled);
    return model.loss() + z_term(model);
}

std::vector<std::vector<double>> gradients_of(Model<double>& model) {
    model.zero_loss();
    model.zero_gradients();
    model.forward();
    model.backward(labelled);
    std::vector<std::vector<double>> gradients;
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        gradients.push_back(model.gradient(id) ? model.gradient_values(id) : std::vector<double>{});
    return gradients;
}

// d loss / dt of tensor id at weights + t direction, t = 0: central differences of steps h, h/2,
// h/4, extrapolated twice (Richardson), so that the error is of order h^6. Rounding of the loss
// over h is 1e-12: far below 1e-7 of gradients of order 0.01 to 1.
double derivative_along(Model<double>& model, int id, const std::vector<double>& direction) {
    constexpr double h = 2e-3;
    const std::vector<double> start = model.values(id);
    const auto loss_at = [&](double t) {
        std::vector<double> moved = start;
        for (size_t i = 0; i < moved.size(); i++) moved[i] += t * direction[i];
        model.set_values(id, moved);
        return loss_of(model);
    };
    const auto slope = [&](double t) { return (loss_at(t) - loss_at(-t)) / (2 * t); };
    const double coarse = slope(h), middle = slope(h / 2), fine = slope(h / 4);
    model.set_values(id, start);
    return (64 * fine - 20 * middle + coarse) / 45;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
    return sum;
}

// Three random directions of length 1, and 32 entries (all, if there are fewer).
std::vector<std::vector<double>> directions(size_t n, Rng& rng) {
    std::vector<std::vector<double>> list;
    for (int i = 0; i < 3; i++) {
        std::vector<double> d(n);
        for (double& v : d) v = rng.normal();
        const double length = std::sqrt(dot(d, d));
        for (double& v : d) v /= length;
        list.push_back(d);
    }
    std::set<size_t> entries;
    while (entries.size() < std::min<size_t>(n, 32)) entries.insert(rng.below(n));
    for (const size_t i : entries) {
        list.emplace_back(n, 0.0);
        list.back()[i] = 1;
    }
    return list;
}

// "" when every trained tensor's gradient is right to 1e-7 of its largest entry.
std::string gradient_errors(const Case& test, uint64_t seed) {
    Model<double> model(test.config(), B, T);
    randomise(model, seed);
    Batch batch = random_batch(model.config().vocab, seed);
    if (test.documents)
        for (const int r : separators) batch.tokens[r] = model.config().separator;
    model.load(batch);
    const auto gradients = gradients_of(model);
    std::string errors;
    for (int id = 0; id < static_cast<int>(gradients.size()); id++) {
        const Tensor& tensor = model.table().rows[id];
        if (!tensor.trained) continue;
        const double most = largest(gradients[id]);
        if (!(most > 1e-9)) errors += tensor.name + ": no gradient arrives\n";
        Rng rng(seed, 99, id);
        for (const auto& direction : directions(tensor.size(), rng)) {
            const double analytic = dot(gradients[id], direction);
            const double numeric = derivative_along(model, id, direction);
            if (!(std::abs(analytic - numeric) <= 1e-7 * most))
                errors += tensor.name + ": " + describe(0, analytic, numeric, 1e-7 * most) + "\n";
        }
    }
    return errors;
}

void check_gradients(const Case& test) {
    const uint64_t seed = 11;
    CAPTURE(test.name(), seed);
    CHECK(gradient_errors(test, seed) == "");
}

bool has_output_norm(const std::string& norm) {
    return norm == "peri" || norm == "output" || norm == "olmo2" || norm == "simple";
}

}  // namespace

TEST_CASE("gradient of the whole model, all ten placements", "[model][gradient]") {
    const Threads one(1);  // these models are too small to share
    for (const std::string& norm : all_placements) check_gradients({norm});
}

TEST_CASE("gradient of the whole model, layers of different placements", "[model][gradient]") {
    const Threads one(1);  // these models are too small to share
    check_gradients({"post:1,peri:1"});
    check_gradients({"keel:1,simple:1"});
    check_gradients({"olmo2:1,deep:1"});
}

TEST_CASE("gradient of the whole model, each option with each placement", "[model][gradient]") {
    const Threads one(1);  // these models are too small to share
    for (const std::string& norm : all_placements) {
        if (norm != "simple")
            for (const char* qk : {"none", "head", "full"}) check_gradients({norm, qk});
        for (const Choice choice : {Choice::on, Choice::off}) {
            check_gradients({.norm = norm, .embedding_norm = choice});
            check_gradients({.norm = norm, .final_norm = choice});
        }
        check_gradients({.norm = norm, .layernorm = true});
        check_gradients({.norm = norm, .grouped = true});
        if (has_output_norm(norm)) check_gradients({.norm = norm, .freeze = true});
    }
}

TEST_CASE("gradient of the whole model with z-loss", "[model][gradient]") {
    const Threads one(1);  // these models are too small to share
    check_gradients({.norm = "peri", .z_loss = 0.1});
    check_gradients({.norm = "post", .z_loss = 0.1});
}

TEST_CASE("gradient of the whole model with documents", "[model][gradient][documents]") {
    const Threads one(1);  // these models are too small to share
    for (const std::string norm : {"peri", "post", "olmo2"})
        check_gradients({.norm = norm, .documents = true});
    check_gradients({.norm = "peri", .qk_norm = "head", .grouped = true, .documents = true});
}

// The losses of runs with and without z-loss compare, and evaluation is the same.
TEST_CASE("z-loss changes gradients and no loss", "[model]") {
    const auto run = [](double z_loss) {
        const Case test = {.norm = "peri", .z_loss = z_loss};
        Model<double> model(test.config(), B, T);
        randomise(model, 2);
        model.load(random_batch(model.config().vocab, 2));
        const std::vector<double> head = gradients_of(model)[model.table().head];
        const double trained = model.loss();
        model.zero_loss();
        model.evaluate(labelled);
        return std::tuple(trained, model.loss(), head);
    };
    const auto [trained, evaluated, head] = run(0);
    const auto [z_trained, z_evaluated, z_head] = run(0.1);
    CHECK(z_trained == trained);
    CHECK(z_evaluated == evaluated);
    CHECK(largest(z_head) > 0);
    CHECK(z_head != head);
}

TEST_CASE("gradient of the whole model, the full grid of options", "[.grid]") {
    const Threads one(1);  // these models are too small to share
    const std::vector<Choice> on_off = {Choice::on, Choice::off};
    for (const std::string& norm : all_placements)
        for (const std::string qk : {"auto", "none", "head", "full"})
            for (const Choice embedding_norm : on_off)
                for (const Choice final_norm : on_off)
                    for (const int bits : {0, 1, 2, 3, 4, 5, 6, 7})
                        if ((norm != "simple" || qk == "auto") &&
                            (has_output_norm(norm) || !(bits & 2)))  // gammas to freeze
                            check_gradients({norm, qk, embedding_norm, final_norm, bool(bits & 1),
                                             bool(bits & 2), bool(bits & 4)});
}

TEST_CASE("the model's gradient check fails on a wrong gradient", "[model][gradient]") {
    const Threads one(1);  // these models are too small to share
    const Case test = {"peri"};
    Model<double> model(test.config(), B, T);
    randomise(model, 1);
    model.load(random_batch(17, 1));
    auto gradients = gradients_of(model);
    const int id = model.table().sublayers[0].o;
    std::vector<double> entry(gradients[id].size());
    entry[5] = 1;
    const double numeric = derivative_along(model, id, entry), most = largest(gradients[id]);
    const double right = gradients[id][5];
    CHECK(std::abs(right - numeric) <= 1e-7 * most);
    CHECK_FALSE(std::abs(-right - numeric) <= 1e-7 * most);
    CHECK_FALSE(std::abs(NAN - numeric) <= 1e-7 * most);
    CHECK_FALSE(std::abs(right * (1 + 1e-3) - numeric) <= 1e-7 * most);
}

// A norm does not see its input's length, so the gradient of a matrix that a norm directly follows
// is orthogonal to it: <W, dL/dW> = 0 for eps = 0. An output norm does not see the length of v and
// up either, in which attention and the MLP are linear.
TEST_CASE("<W, dL/dW> = 0 for every matrix directly followed by a norm", "[model]") {
    const Threads one(1);  // these models are too small to share
    for (const std::string& norm : all_placements)
        for (const bool layernorm : {false, true})
            for (const std::string qk : {"auto", "head", "full"}) {
                if (norm == "simple" && qk != "auto") continue;
                const Case test = {.norm = norm, .qk_norm = qk, .layernorm = layernorm, .eps = 0};
                Model<double> model(test.config(), B, T);
                randomise(model, 5);
                model.load(random_batch(17, 5));
                const auto gradients = gradients_of(model);
                std::set<int> normed;
                const TensorTable& table = model.table();
                if (table.embedding_norm) normed.insert(table.embedding);
                for (const SubLayerIds& s : table.sublayers) {
                    if (s.B) normed.insert({s.o, s.v, s.up, s.down});
                    if (s.q_norm) normed.insert({s.q, s.k});
                    if (s.v_norm) normed.insert(s.v);
                    if (s.gate_norm) normed.insert({s.gate, s.up});
                }
                for (int id = 0; id < static_cast<int>(table.rows.size()); id++) {
                    if (!table.rows[id].is_matrix()) continue;
                    const std::vector<double> w = model.values(id), g = gradients[id];
                    const double cosine = dot(w, g) / std::sqrt(dot(w, w) * dot(g, g));
                    CAPTURE(test.name(), table.rows[id].name, cosine);
                    if (normed.contains(id))
                        CHECK(std::abs(cosine) <= 1e-12);
                    else if (id != table.embedding)  // whose length Post-LN with QK-norm cannot see
                        CHECK(std::abs(cosine) > 1e-9);
                }
            }
}

namespace {

ModelConfig sized(const std::string& size_name, const std::string& norm, int vocab) {
    ModelConfig c = model_of(find_size(size_name));
    c.norm = norm;
    c.vocab = vocab;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

Batch batch_of(int B_, int T_, int vocab, uint64_t seed) {
    Rng rng(seed);
    Batch batch{B_, T_, {}, {}};
    for (int i = 0; i < B_ * T_ + 1; i++) {
        const int token = static_cast<int>(rng.below(vocab));
        if (i < B_ * T_) batch.tokens.push_back(token);
        if (i > 0) batch.labels.push_back(token);
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

// With a head of standard deviation 0.02 all tokens are about equally likely.
TEST_CASE("the first loss is ln V", "[model]") {
    for (const std::string& norm : all_placements) {
        ModelConfig config = sized("tiny", norm, 256);
        config.init = {Init::normal, 0.02};
        Model<float> model(config, 4, 33);
        model.initialise(1);
        model.load(batch_of(4, 33, 256, 3));
        model.zero_loss();
        model.forward();
        model.evaluate(4 * 33);
        CAPTURE(norm, model.loss());
        CHECK(std::abs(model.loss() / std::log(256) - 1) <= 0.01);
    }
}

TEST_CASE("every placement learns one sequence by heart", "[model]") {
    const Threads one(1);  // these models are too small to share
    for (const std::string& norm : all_placements) {
        const double loss = loss_by_heart<float>(norm);
        CAPTURE(norm, loss);
        CHECK(loss < 0.1);
    }
    const double loss = loss_by_heart<bf16>("peri");
    CAPTURE(loss);
    CHECK(loss < 0.1);
}

TEST_CASE("same seed and threads: identical bits", "[model]") {
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
    for (const std::string norm : {"post", "pre", "peri", "output", "input-main", "olmo2", "keel",
                                   "simple", "mix", "deep", "peri:1,simple:1,post:1,olmo2:1"})
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
    for (const std::string& norm : all_placements) {
        const ModelConfig config = sized("tiny", norm, 101);
        Model<double> wide(config, 2, 31);
        Model<float> narrow(config, 2, 31);
        run_both(narrow, wide);
        CHECK(std::abs(wide.loss() - narrow.loss()) <= 1e-5);
        for (size_t id = 0; id < wide.table().rows.size(); id++) {
            const int i = static_cast<int>(id);
            const std::vector<double> expected = wide.gradient_values(i);
            const double tolerance = 32 * 1.2e-7 * std::sqrt(62 * 2) * largest(expected);
            CAPTURE(norm, wide.table().rows[id].name);
            CHECK(difference(narrow.gradient_values(i), expected, tolerance) == "");
        }
    }
}

// Every array on the way is rounded by up to 2^-8 of each number, at random: errors add up like the
// root of their count. Logits of about 1 then err by about 2^-8 each, and the mean over the labels
// by the root of their number less: twice that is allowed. Of a gradient's length 0.029 was
// measured, in SimpleNorm's norm of keys, whose gradient is what two larger ones leave.
TEST_CASE("bf16 model against double model", "[model]") {
    const auto length = [](const std::vector<double>& v) { return std::sqrt(dot(v, v)); };
    for (const std::string& norm : all_placements) {
        const ModelConfig config = sized("tiny", norm, 101);
        Model<double> wide(config, 2, 31);
        Model<bf16> narrow(config, 2, 31);
        run_both(narrow, wide);
        CAPTURE(norm);
        CHECK(std::abs(wide.loss() - narrow.loss()) <= 2 * 0x1p-8 / std::sqrt(2 * 31));
        for (int id = 0; id < static_cast<int>(wide.table().rows.size()); id++) {
            const std::vector<double> expected = wide.gradient_values(id);
            std::vector<double> error = narrow.gradient_values(id);
            for (size_t i = 0; i < error.size(); i++) error[i] -= expected[i];
            CAPTURE(wide.table().rows[id].name);
            CHECK(length(error) <= 0.05 * length(expected));
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
        const size_t C = config.width, F = config.ffn, C_norm = config.placement[0].C ? C : 0;
        CHECK((less.gradients == 0 && less.optimizer == 0 && less.weights == full.weights));
        // of the stream, a, x~, q, k, v and the context, where there is C of o, of gate and up
        CHECK(full.activations - less.activations == 4 * 33 * (7 * C + C_norm + 2 * F) * 4);
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
    CHECK(std::abs(millions("400m") - 384) < 1);
    CHECK(std::abs(millions("1.5b") - 1535) < 1);
    CHECK(std::abs(millions("3.2b") - 3198) < 1);
    const MemoryPlan plan = plan_memory<float>(sized("3.2b", "peri", 100277), 1, 8192, 2);
    CHECK(plan.optimizer == 2 * plan.gradients);
    CHECK(plan.weights >= size_t(4 * 3.2e9));
    CHECK(plan.activations > plan.weights);  // fp32, every sub-layer kept, no recompute
}
