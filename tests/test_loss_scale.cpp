// Loss scaling: what is learned is the same, what is not finite is skipped.
#include <cmath>

#include "catch.h"
#include "compare.h"
#include "models.h"
#include "optimizer.h"
#include "probe/probe.h"

using namespace peri;

namespace {

const Batch batch{2, 5, {5, 6, 7, 8, 9, 1, 2, 3, 4, 5}, {6, 7, 8, 9, 1, 2, 3, 4, 5, 6}};

// A tiny model and its optimizer, which train on one batch.
template <class Real>
struct Training {
    Model<Real> model;
    Optimizer<Real> optimizer;

    explicit Training(LossScale scale = {0, 0, 0, 0}, bool sgd = false)
        : model(initialised()), optimizer(model, settings(sgd)) {
        if (scale.scale > 0) model.set_loss_scale(scale);
    }
    static Model<Real> initialised() {
        Model<Real> model(small_config(2), 2, 5);
        model.initialise(3);
        return model;
    }
    static OptimizerSettings settings(bool sgd) {
        OptimizerSettings s;
        s.sgd = sgd;
        s.clip = 0.3;
        return s;
    }

    void backward() {
        model.load(batch);
        model.zero_loss();
        model.zero_gradients();
        model.forward();
        model.backward(10);
    }
    void step() {
        backward();
        optimizer.step(0.01);
    }
    // weights and moments
    std::vector<double> numbers() const {
        std::vector<double> all;
        for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
            for (const double w : model.values(id)) all.push_back(w);
        for (const auto& part : optimizer.state())
            for (const double m :
                 download_as_double<Real>(part.numbers, model.table().rows[part.id].size()))
                all.push_back(m);
        return all;
    }
};

}  // namespace

// A power of two rounds nothing in float.
TEST_CASE("loss scale: float learns the same bits with one as without", "[loss_scale]") {
    for (const bool sgd : {false, true}) {
        Training<float> plain({0, 0, 0, 0}, sgd), scaled({0x1p20f, 3, 0, 0}, sgd);
        for (int i = 0; i < 7; i++) {
            plain.step();
            scaled.step();
            CHECK(scaled.optimizer.gradient_norm() == plain.optimizer.gradient_norm());
        }
        CHECK(bit_difference(scaled.numbers(), plain.numbers()) == "");
        CHECK(scaled.model.loss_scale().scale == 0x1p22f);  // doubled after 3 and 6 good steps
        CHECK(scaled.model.loss_scale().skipped == 0);
    }
}

TEST_CASE("loss scale: gradients are seen as they are", "[loss_scale]") {
    Training<float> plain, scaled({0x1p20f, 0, 0, 0});
    plain.backward();
    scaled.backward();
    const int id = plain.model.table().sublayers[1].down;
    CHECK(bit_difference(scaled.model.gradient_values(id), plain.model.gradient_values(id)) == "");
    CHECK(scaled.model.loss() == plain.model.loss());

    const std::vector<Measurement> expected = measure(plain.model, batch),
                                   got = measure(scaled.model, batch);
    REQUIRE(got.size() == expected.size());
    for (size_t i = 0; i < got.size(); i++) {
        CAPTURE(got[i].quantity, got[i].layer);
        CHECK(got[i].value == expected[i].value);
    }
}

// A loss scale beyond what fp16 holds makes every gradient infinite, until it has halved often enough. Until then nothing
// moves; and then it goes as if those steps had not been, which counts in Adam's bias correction.
TEST_CASE("loss scale: steps that are not finite are skipped", "[loss_scale]") {
    Training<fp16> fresh({64, 2000, 0, 0}), late({0x1p40f, 2000, 0, 0});
    const std::vector<double> start = late.numbers();
    int skipped = 0;
    for (; late.model.loss_scale().scale > 64; skipped++) {
        REQUIRE(skipped < 40);
        const float scale = late.model.loss_scale().scale;
        late.model.set_loss_scale({scale, 2000, 0, skipped});
        late.backward();
        Accum<fp16>* const g = late.model.all_gradients();
        const float infinite = INFINITY;
        device_upload<fp16>(g, &infinite, sizeof infinite);
        late.optimizer.step(0.01);
        CHECK(!std::isfinite(late.optimizer.gradient_norm()));
        CHECK(late.model.loss_scale().scale == scale / 2);
        REQUIRE(bit_difference(late.numbers(), start) == "");
    }
    CHECK(late.model.loss_scale().skipped == 34);
    CHECK(late.optimizer.steps() == 34);
    for (int i = 0; i < 3; i++) {
        fresh.step();
        late.step();
    }
    CHECK(bit_difference(late.numbers(), fresh.numbers()) == "");
    CHECK(bit_difference(late.numbers(), start) != "");
}

TEST_CASE("loss scale: none makes weights NaN where gradients are, as ever", "[loss_scale]") {
    Training<float> plain;
    plain.backward();
    const float nan = NAN;
    device_upload<float>(plain.model.all_gradients(), &nan, sizeof nan);
    plain.optimizer.step(0.01);
    CHECK(std::isnan(plain.numbers()[0]));
}
