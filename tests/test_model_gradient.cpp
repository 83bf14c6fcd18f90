// The whole model against finite differences, for every placement and every option.
#include <cmath>
#include <set>
#include <tuple>

#include "catch.h"
#include "compare.h"
#include "helpers.h"
#include "model_cases.h"
#include "random.h"

using namespace peri;

namespace {

// d loss / dt of tensor id at weights + t direction, t = 0: central differences of steps h, h/2,
// h/4, extrapolated twice (Richardson), so that the error is of order h^6. Rounding of the loss
// over h is 1e-12: far below `accuracy` of gradients of order 0.01 to 1.
constexpr double accuracy = 1e-7;

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

// "" when every trained tensor's gradient is right to `accuracy` of its largest entry.
std::string gradient_errors(const ModelCase& test, uint64_t seed) {
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
            const std::string wrong = difference({analytic}, {numeric}, accuracy * most);
            if (wrong != "") errors += tensor.name + ": " + wrong + "\n";
        }
    }
    return errors;
}

void check_gradients(const ModelCase& test) {
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
    for (const std::string& norm : placement_names()) check_gradients({norm});
}

TEST_CASE("gradient of the whole model, layers of different placements", "[model][gradient]") {
    const Threads one(1);  // these models are too small to share
    check_gradients({"post:1,peri:1"});
    check_gradients({"keel:1,simple:1"});
    check_gradients({"olmo2:1,deep:1"});
}

TEST_CASE("gradient of the whole model, each option with each placement", "[model][gradient]") {
    const Threads one(1);  // these models are too small to share
    for (const std::string& norm : placement_names()) {
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
        const ModelCase test = {.norm = "peri", .z_loss = z_loss};
        Model<double> model(test.config(), B, T);
        randomise(model, 2);
        model.load(random_batch(model.config().vocab, 2));
        const std::vector<double> head = gradients_of(model)[model.table().head];
        const double trained = model.loss();
        model.zero_loss();
        model.evaluate(targeted);
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
    for (const std::string& norm : placement_names())
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
    const ModelCase test = {"peri"};
    Model<double> model(test.config(), B, T);
    randomise(model, 1);
    model.load(random_batch(17, 1));
    auto gradients = gradients_of(model);
    const int id = model.table().sublayers[0].o;
    std::vector<double> entry(gradients[id].size());
    entry[5] = 1;
    const double numeric = derivative_along(model, id, entry), most = largest(gradients[id]);
    const double right = gradients[id][5];
    const Near expected = near(numeric, accuracy * most);
    CHECK(right == expected);
    CHECK_FALSE(-right == expected);
    CHECK_FALSE(NAN == expected);
    CHECK_FALSE(right * (1 + 1e-3) == expected);
}

// A norm does not see its input's length, so the gradient of a matrix that a norm directly follows
// is orthogonal to it: <W, dL/dW> = 0 for eps = 0. An output norm does not see the length of v and
// up either, in which attention and the MLP are linear.
TEST_CASE("<W, dL/dW> = 0 for every matrix directly followed by a norm", "[model]") {
    const Threads one(1);  // these models are too small to share
    for (const std::string& norm : placement_names())
        for (const bool layernorm : {false, true})
            for (const std::string qk : {"auto", "head", "full"}) {
                if (norm == "simple" && qk != "auto") continue;
                const ModelCase test = {
                    .norm = norm, .qk_norm = qk, .layernorm = layernorm, .eps = 0};
                Model<double> model(test.config(), B, T);
                randomise(model, 5);
                model.load(random_batch(17, 5));
                const auto gradients = gradients_of(model);
                std::set<int> normed;
                const TensorTable& table = model.table();
                if (table.embedding_norm) normed.insert(table.embedding);
                for (const SubLayerIds& s : table.sublayers) {
                    if (s.output_norm) normed.insert({s.o, s.v, s.up, s.down});
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
                        CHECK(cosine == near(0, roundings(9000)));
                    else if (id != table.embedding)  // whose length Post-LN with QK-norm cannot see
                        CHECK(std::abs(cosine) > 1e-9);
                }
            }
}
