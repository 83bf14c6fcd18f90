// --check finds what is wrong where it is wrong, and nothing where nothing is.
#include <cmath>

#include "catch.h"
#include "helpers.h"
#include "jobs/crosscheck.h"
#include "random.h"
#include "tolerance.h"

using namespace peri;

namespace {

RunConfig tiny_run(const std::string& norm) {
    RunConfig run;
    run.model = model_of(find_size("tiny"));
    run.model.norm = norm;
    run.model.layers = 2;
    resolve(run.model, "auto", Choice::automatic, Choice::automatic);
    run.batch = 2;
    run.seq = 9;
    run.check = 3;
    run.schedule.steps = 10;
    run.schedule.max_lr = 4e-3;
    return run;
}

Batch random_batch(const RunConfig& run, int step) {
    Rng rng(run.seed, step);
    Batch batch{run.batch, run.seq, {}, {}};
    for (int i = 0; i < run.batch * run.seq; i++) {
        batch.tokens.push_back(static_cast<int>(rng.below(run.model.vocab)));
        batch.targets.push_back(static_cast<int>(rng.below(run.model.vocab)));
    }
    return batch;
}

// "stage tensor" of the first that differs, "" if none does
std::string first_difference(const std::vector<Comparison>& list) {
    for (const Comparison& c : list)
        if (!(c.error == near(0, c.tolerance))) return std::string(c.stage) + " " + c.tensor;
    return "";
}

int row(const TensorTable& table, const std::string& name) {
    for (int id = 0; id < static_cast<int>(table.rows.size()); id++)
        if (table.rows[id].name == name) return id;
    throw std::runtime_error("no tensor " + name);
}

}  // namespace

TEST_CASE("the largest difference sees signs, NaN and infinity", "[crosscheck]") {
    CHECK(largest_difference({1, -2, 3}, {1, -2, 3}) == 0);
    CHECK(largest_difference({1, 2, 3}, {1, -2, 3}) == 4);
    CHECK(largest_difference({}, {}) == 0);
    CHECK(std::isnan(largest_difference({NAN, 1}, {5, 1})));
    CHECK(std::isnan(largest_difference({5, 1}, {NAN, 1})));
    CHECK(std::isnan(largest_difference({INFINITY}, {INFINITY})));
    CHECK(largest_difference({INFINITY}, {1}) == INFINITY);
}

TEST_CASE("NaN, and anything where nothing is allowed, differs", "[crosscheck]") {
    CHECK_FALSE(Comparison{"hidden", "x", 0, 0}.differs());
    CHECK_FALSE(Comparison{"hidden", "x", 1, 1}.differs());
    CHECK(Comparison{"hidden", "x", 1.01, 1}.differs());
    CHECK(Comparison{"hidden", "x", 1e-30, 0}.differs());
    CHECK(Comparison{"hidden", "x", NAN, 1}.differs());
    CHECK(Comparison{"hidden", "x", 1, NAN}.differs());
    CHECK(Comparison{"hidden", "x", 0, 0}.share() == 0);
}

TEMPLATE_TEST_CASE("a backend without bugs does not differ", "[crosscheck]", float, bf16, fp16) {
    for (const char* norm : {"peri", "post", "olmo2", "keel", "simple"}) {
        RunConfig run = tiny_run(norm);
        run.model.z_loss = 0.1;
        if (std::is_same_v<TestType, fp16>) run.loss_scale = {0x1p16f, 2000, 0, 0};
        CrossCheck<TestType> check(run);
        for (int step = 1; step <= run.check; step++) {
            check.start(random_batch(run, step));
            CAPTURE(norm, step);
            CHECK(first_difference(check.compare_run()) == "");
            CHECK(first_difference(check.compare_update(learning_rate(run.schedule, step))) == "");
        }
    }
}

TEST_CASE("every tensor is compared, in the order it is computed in", "[crosscheck]") {
    const RunConfig run = tiny_run("peri");
    CrossCheck<float> check(run);
    check.start(random_batch(run, 1));
    const std::vector<Comparison> list = check.compare_run();
    const TensorTable& table = check.backend().table();
    std::vector<std::string> expected = {"hidden embedding_norm",
                                         "hidden layers.0.attention",
                                         "hidden layers.0.mlp",
                                         "hidden layers.1.attention",
                                         "hidden layers.1.mlp",
                                         "hidden final_norm",
                                         "loss loss"};
    for (int id = static_cast<int>(table.rows.size()) - 1; id >= 0; id--)
        expected.push_back("gradient " + table.rows[id].name);
    std::vector<std::string> got;
    for (const Comparison& c : list) got.push_back(std::string(c.stage) + " " + c.tensor);
    CHECK(got == expected);
    CHECK(check.compare_update(1e-3).size() == 1 + table.rows.size());
}

// A weight that the backend alone has changed stands for a kernel that computes with it wrongly.
TEST_CASE("the first tensor that differs is the one the cause reaches first", "[crosscheck]") {
    struct Fault {
        const char *tensor, *first;
        double change;  // of the tensor's last entry, as a share of it
    };
    const std::vector<Fault> faults = {
        {"embedding_norm.weight", "hidden embedding_norm", 0.01},
        {"layers.0.attention.q_norm.weight", "hidden layers.0.attention", 1},
        {"layers.0.mlp.input_norm.weight", "hidden layers.0.mlp", 0.01},
        {"layers.1.attention.v.weight", "hidden layers.1.attention", 1},
        {"layers.1.mlp.down.weight", "hidden layers.1.mlp", NAN},
        {"layers.1.mlp.output_norm.weight", "hidden layers.1.mlp", -2},  // another sign
        {"final_norm.weight", "hidden final_norm", 0.01},
        {"head.weight", "loss loss", INFINITY},
        {"final_norm.weight", "", 0x1p-30},  // less than a rounding
    };
    RunConfig run = tiny_run("peri");
    resolve(run.model, "head", Choice::automatic, Choice::automatic);
    for (const Fault& fault : faults) {
        CrossCheck<float> check(run);
        check.start(random_batch(run, 1));
        Model<float>& backend = check.backend();
        const int id = row(backend.table(), fault.tensor);
        std::vector<double> values = backend.values(id);
        values.back() *= 1 + fault.change;
        backend.set_values(id, values);
        CAPTURE(fault.tensor, fault.change);
        CHECK(first_difference(check.compare_run()) == fault.first);
    }
}

TEST_CASE("an update from other weights, and a tensor it skips, differ", "[crosscheck]") {
    const RunConfig run = tiny_run("peri");
    for (const char* tensor : {"embedding.weight", "layers.1.mlp.up.weight", "final_norm.weight"}) {
        CrossCheck<float> check(run);
        check.start(random_batch(run, 1));
        CHECK(first_difference(check.compare_run()) == "");
        const int id = row(check.backend().table(), tensor);
        std::vector<double> values = check.backend().values(id);
        values[0] *= 1.0001;  // as weight decay of 0.033 at a rate of 3e-3 would
        check.backend().set_values(id, values);
        CHECK(first_difference(check.compare_update(1e-3)) == std::string("weight ") + tensor);
    }
}
