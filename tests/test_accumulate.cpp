// A step in micro-batches is the step in one batch: the same loss, the same gradient.
#include <cmath>

#include "accumulate.h"
#include "catch.h"
#include "compare.h"
#include "random.h"

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
