// A step in micro-batches is the step in one batch: the same loss, the same gradient.
#include <cmath>

#include "accumulate.h"
#include "catch.h"
#include "compare.h"
#include "random.h"
#include "tolerance.h"
#include "tree.h"
#include "tree_accumulation.h"

using namespace peri;

namespace {

constexpr int B = 6, T = 5, V = 17;

ModelConfig small_model() {
    ModelConfig c;
    c.layers = 2;
    c.width = 12;
    c.heads = 2;
    c.kv_heads = 1;
    c.ffn = 19;
    c.vocab = V;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

// Sequence 0 has no target, sequence 1 one, the others all: a mean of micro-batches' means differs
// from the mean over all targets however the batch is cut.
Batch masked_batch() {
    Rng rng(5);
    Batch batch{B, T, {}, {}};
    for (int i = 0; i < B * T; i++) {
        batch.tokens.push_back(static_cast<int>(rng.below(V)));
        batch.targets.push_back(i < 2 * T - 1 ? -1 : static_cast<int>(rng.below(V)));
    }
    return batch;
}

struct Step {
    double loss;
    std::vector<std::vector<double>> gradients;
};

template <class Real>
Step step(Model<Real>& model, const Batch& batch, int micro) {
    model.zero_loss();
    model.zero_gradients();
    forward_backward(model, batch, micro);
    Step result{model.loss(), {}};
    for (size_t id = 0; id < model.table().rows.size(); id++)
        result.gradients.push_back(model.gradient_values(static_cast<int>(id)));
    return result;
}

// The largest difference of two steps, of each tensor relative to its largest entry.
double difference(const Step& a, const Step& b) {
    double worst = std::abs(a.loss - b.loss) / b.loss;
    for (size_t id = 0; id < a.gradients.size(); id++)
        for (size_t i = 0; i < a.gradients[id].size(); i++) {
            const double error =
                std::abs(a.gradients[id][i] - b.gradients[id][i]) / largest(b.gradients[id]);
            worst = error <= worst ? worst : error;  // NaN is the worst
        }
    return worst;
}

}  // namespace

TEMPLATE_TEST_CASE("a step in micro-batches is the step in one batch", "[accumulate]", double,
                   float) {
    // sums of 30 terms in another order, in two layers
    constexpr double tolerance = roundings<TestType>(500);
    const Batch batch = masked_batch();
    CHECK(target_count(batch) == B * T - 2 * T + 1);
    Model<TestType> whole(small_model(), B, T);
    whole.initialise(3);
    const Step expected = step(whole, batch, B);
    CHECK(expected.loss == near(std::log(V), 0.1));
    for (const int micro : {1, 2, 3, 4, 5}) {  // 4 and 5 leave a smaller last one
        Model<TestType> model(small_model(), micro, T);
        model.initialise(3);
        CAPTURE(micro);
        CHECK(difference(step(model, batch, micro), expected) == near(0, tolerance));
    }
}

TEST_CASE("the loss of a whole set of batches is a sum over its targets", "[accumulate]") {
    const Batch batch = masked_batch();
    Model<double> model(small_model(), 4, T);
    model.initialise(3);
    const double mean = step(model, batch, 2).loss;
    model.zero_loss();
    forward_evaluate(model, batch, 4);
    forward_evaluate(model, slice(batch, 1, 2), 1);
    const double all = model.loss();
    model.zero_loss();
    forward_evaluate(model, slice(batch, 1, 2), 2);
    const double part = model.loss();
    CHECK(all - part == near(mean * target_count(batch), roundings(9000) * all));
    CHECK(part > 0);
}

TEST_CASE("a step without any target is no step", "[accumulate]") {
    Batch batch = masked_batch();
    batch.targets.assign(B * T, -1);
    Model<double> model(small_model(), 2, T);
    model.initialise(3);
    const Step none = step(model, batch, 2);
    CHECK(none.loss == 0);
    for (const auto& gradient : none.gradients) CHECK(largest(gradient) == 0);
}

TEST_CASE("a slice is the batch's own sequences", "[accumulate]") {
    const Batch batch = masked_batch();
    const Batch part = slice(batch, 2, 3);
    CHECK(part.B == 3);
    CHECK(part.T == T);
    CHECK(part.tokens == std::vector<int>(batch.tokens.begin() + 10, batch.tokens.begin() + 25));
    CHECK(part.targets == std::vector<int>(batch.targets.begin() + 10, batch.targets.begin() + 25));
}

// ---- in a tree (--reproducible) -----------------------------------------------------------------

TEST_CASE("tree: which parts are added to which", "[accumulate]") {
    const auto tree = [](size_t n) {
        std::vector<std::string> parts;
        for (size_t i = 0; i < n; i++) parts.push_back(std::to_string(i));
        add_in_tree(0, n,
                    [&](size_t i, size_t j) { parts[i] = "(" + parts[i] + "+" + parts[j] + ")"; });
        return parts[0];
    };
    CHECK(tree(1) == "0");
    CHECK(tree(2) == "(0+1)");
    CHECK(tree(3) == "((0+1)+2)");
    CHECK(tree(6) == "(((0+1)+(2+3))+(4+5))");
    CHECK(tree(7) == "(((0+1)+(2+3))+((4+5)+6))");
}

namespace {

template <class Real>
Step tree_step(Model<Real>& model, const Batch& batch, int micro, double divisor) {
    TreeAccumulation<Real> tree(model, batch.B / micro);
    Step result{tree.forward_backward(model, batch, micro, divisor), {}};
    for (size_t id = 0; id < model.table().rows.size(); id++)
        result.gradients.push_back(model.gradient_values(static_cast<int>(id)));
    return result;
}

Step sum(Step a, const Step& b) {
    a.loss += b.loss;
    for (size_t id = 0; id < a.gradients.size(); id++)
        for (size_t i = 0; i < a.gradients[id].size(); i++)
            a.gradients[id][i] += b.gradients[id][i];
    return a;
}

}  // namespace

TEST_CASE("a tree of micro-batches: the sums of its halves, to the bit", "[accumulate]") {
    const Batch batch = masked_batch();  // 6 micro-batches of one sequence: 4 and 2
    const double targets = static_cast<double>(target_count(batch));
    Model<double> model(small_model(), 1, T);
    model.initialise(3);
    const Step whole = tree_step(model, batch, 1, targets);
    const Step halves = sum(tree_step(model, slice(batch, 0, 4), 1, targets),
                            tree_step(model, slice(batch, 4, 2), 1, targets));
    CHECK(whole.loss == halves.loss);
    CHECK(whole.gradients == halves.gradients);
    const Step quarters = sum(sum(tree_step(model, slice(batch, 0, 2), 1, targets),
                                  tree_step(model, slice(batch, 2, 2), 1, targets)),
                              tree_step(model, slice(batch, 4, 2), 1, targets));
    CHECK(whole.gradients == quarters.gradients);
    CHECK(whole.loss > 1);
    // a few sums of rounded numbers, in two orders
    Step in_turn = step(model, batch, 1);
    CHECK(difference(whole, in_turn) == near(0, roundings(100)));
}

TEST_CASE("a tree of one micro-batch keeps no gradients beside the model's", "[accumulate]") {
    CHECK(TreeAccumulation<float>::buffers(1) == 0);
    CHECK(TreeAccumulation<float>::buffers(2) == 1);
    CHECK(TreeAccumulation<float>::buffers(8) == 3);
    CHECK(TreeAccumulation<float>::buffers(9) == 4);
}
