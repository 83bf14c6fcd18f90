// --keep-best: the lowest validation loss wins, its weights can always be read, and a run that goes
// on from any checkpoint finds those that were the best by then.
#include "store/best.h"

#include <cmath>
#include <filesystem>

#include "catch.h"
#include "helpers.h"
#include "models.h"
#include "run/metrics.h"
#include "store/files.h"

using namespace peri;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// A run whose weights tell the step: a matrix of the head's filled with its number.
struct Run {
    TemporaryDirectory folder;
    std::string out = folder / "";
    Model<float> model = small_model();
    Optimizer<float> optimizer = Optimizer<float>(model, {});

    static Model<float> small_model() { return {small_config(1), 1, 3}; }
    void set(Model<float>& m, int64_t step) const {
        const int head = m.table().head;
        m.set_values(head, std::vector<double>(m.values(head).size(), double(step)));
    }
    void validate(BestWeights& best, int64_t step, double loss) {
        set(model, step);
        best.after({step, loss}, model, {{"config.json", "{}"}});
    }
    void checkpoint(int step, int keep) {
        set(model, step);
        optimizer.set_steps(step);
        save_checkpoint(out, model, optimizer, {}, keep);
    }
    // The steps of the best weights that are there, newest first; each must hold its own.
    std::vector<int64_t> steps() const {
        std::vector<int64_t> list;
        Model<float> read = small_model();
        for (const SavedStep& saved : saved_bests(out)) {
            load_weights(saved.path, read);
            CHECK(read.values(read.table().head)[0] == saved.step);
            list.push_back(saved.step);
        }
        return list;
    }
};

using Steps = std::vector<int64_t>;

}  // namespace

TEST_CASE("the lowest validation loss wins, a tie or a NaN never does", "[best]") {
    Run run;
    BestWeights best(run.out, 0, {});
    CHECK(best.summary() == "");
    run.validate(best, 10, NAN);
    run.validate(best, 20, infinity);
    CHECK(run.steps().empty());
    CHECK(best.summary() == "");
    for (const auto& [step, loss] : std::vector<Validation>{
             {30, 2.5}, {40, 2.25}, {50, 2.25}, {60, 3}, {70, NAN}, {80, -infinity + NAN}})
        run.validate(best, step, loss);
    CHECK(run.steps() == Steps{40});  // with no checkpoint, nothing needs the one before
    CHECK(best.summary() ==
          "best validation loss 2.2500 at step 40: " + run.out + "/best-00000040\n");
    CHECK(read_text(run.out + "/best-00000040/config.json") == "{}");
    CHECK_FALSE(std::filesystem::exists(run.out + "/best-00000040/optimizer.safetensors"));
    CHECK_FALSE(std::filesystem::exists(run.out + "/unfinished"));
}

TEST_CASE("what was the best at a checkpoint stays as long as the checkpoint", "[best]") {
    Run run;
    BestWeights best(run.out, 0, {});
    run.validate(best, 10, 5);
    run.validate(best, 20, 4);
    run.checkpoint(20, 2);
    CHECK(run.steps() == Steps{20});
    run.validate(best, 30, 3);
    run.validate(best, 40, 2);
    CHECK(run.steps() == Steps{40, 20});
    run.checkpoint(50, 2);
    run.validate(best, 60, 1);
    CHECK(run.steps() == Steps{60, 40, 20});
    CHECK(saved_steps(run.out).size() == 2);  // --keep counts checkpoints alone
    run.checkpoint(70, 2);
    CHECK(run.steps() == Steps{60, 40});
    run.checkpoint(90, 2);
    CHECK(run.steps() == Steps{60});
}

TEST_CASE("a run that goes on knows the best of its past alone", "[best]") {
    Run run;
    const std::vector<Validation> past = {{10, 5}, {20, 4}, {30, 4.5}};
    {
        BestWeights best(run.out, 0, {});
        for (const Validation& v : past) run.validate(best, v.step, v.loss);
        run.checkpoint(30, 2);
        run.validate(best, 40, 1);  // of a future that is lost
    }
    CHECK(run.steps() == Steps{40, 20});
    BestWeights best(run.out, 30, past);
    CHECK(run.steps() == Steps{20});
    run.validate(best, 35, 4.25);
    CHECK_THAT(best.summary(), contains("4.0000 at step 20"));
    run.validate(best, 40, 3);
    CHECK(run.steps() == Steps{40, 20});
    CHECK_THAT(best.summary(), contains("3.0000 at step 40"));
}

// Removed or damaged by someone, or the run began without --keep-best.
TEST_CASE("where the best weights are gone the search begins again", "[best]") {
    Run run;
    {
        BestWeights best(run.out, 0, {});
        run.validate(best, 20, 4);
        run.checkpoint(30, 2);
    }
    const std::string file = run.out + "/best-00000020/model.safetensors";
    std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
    BestWeights best(run.out, 30, {{20, 4}});
    CHECK(best.summary() == "");
    run.validate(best, 40, 4.5);
    CHECK_THAT(best.summary(), contains("4.5000 at step 40"));
}

TEST_CASE("no run goes on from best weights", "[best]") {
    Run run;
    BestWeights best(run.out, 0, {});
    run.validate(best, 20, 4);
    const std::string path = run.out + "/best-00000020";
    CHECK_THROWS_WITH(load_checkpoint(path, run.model, run.optimizer),
                      contains(path + ": holds weights alone") && contains("--init-from " + path));
}

TEST_CASE("the validations of before are known again as the file holds them", "[best]") {
    const TemporaryDirectory folder;
    const double third = 1.0 / 3;
    {
        MetricsFiles files(folder / "", 0);
        const Validation v = files.add_validation(10, third);
        CHECK((v.step == 10 && v.loss == 0.333333333));
        files.add_validation(20, NAN);
        files.add_validation(30, 0.25);
    }
    MetricsFiles files(folder / "", 20);
    const std::vector<Validation> earlier = files.earlier_validations();
    REQUIRE(earlier.size() == 2);
    CHECK((earlier[0].step == 10 && earlier[0].loss == 0.333333333));
    CHECK(std::isnan(earlier[1].loss));
    CHECK(files.add_validation(20, third).loss == 0.333333333);  // there already: not written
    CHECK(read_text(folder / "validation.csv") == "step,loss\n10,0.333333333\n20,nan\n");
}
