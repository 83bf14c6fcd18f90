// A run's directory, the tables in it, and when a run has diverged.
#include "run/run_directory.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "catch.h"
#include "check.h"
#include "helpers.h"
#include "models.h"
#include "open_file.h"
#include "probe/divergence.h"
#include "run/metrics.h"
#include "store/files.h"
#include "tolerance.h"

using namespace peri;

TEST_CASE("one process at a time in a run's directory", "[run]") {
    const TemporaryDirectory folder;
    const std::string out = folder / "a/b";
    {
        const RunDirectory first(out, false);
        CHECK_THROWS_WITH(RunDirectory(out, true), contains("another process is training there"));
    }
    const RunDirectory again(out, false);
    folder.write("a/b/metrics.csv", "");
    CHECK_THROWS_WITH(RunDirectory(out, false), contains("already holds a run (metrics.csv)"));
    std::filesystem::remove(folder / "a/b/metrics.csv");
    for (const std::string saved :
         {"step-00000004", "best-00000003"}) {  // whose weights would be taken for the new run's
        std::filesystem::create_directory(folder / ("a/b/" + saved));
        CHECK_THROWS_WITH(RunDirectory(out, false),
                          contains("already holds a run (" + saved + ")"));
        std::filesystem::remove(folder / ("a/b/" + saved));
    }
    folder.write("file", "");
    CHECK_THROWS_WITH(RunDirectory(folder / "file/c", false), contains("cannot make"));
}

TEST_CASE("runs that begin in the same second have directories of their own", "[run]") {
    const TemporaryDirectory folder;
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(folder / "");
    std::set<std::string> paths;
    for (int i = 0; i < 4; i++) {  // three of them at least within one second
        paths.insert(default_directory("peri"));
        CHECK_NOTHROW(RunDirectory(*paths.rbegin(), false));
    }
    CHECK(paths.size() == 4);
    CHECK_THAT(*paths.begin(), contains("runs/2") && contains("-peri"));
    std::filesystem::current_path(before);
}

TEST_CASE("tables are cut back to the step that a run goes on from", "[run]") {
    const TemporaryDirectory folder;
    const std::string path = folder / "t.csv";
    {
        StepFile file(path, "step,x", 0);
        CHECK(file.kept().empty());
        for (const char* const row : {"1,a", "2,b", "10,c"}) file.add(row);
    }
    std::ofstream(path, std::ios::app) << "11,cut of";  // no end of line
    StepFile cut(path, "step,x", 9);
    CHECK(cut.kept() == std::vector<std::string>{"1,a", "2,b"});
    cut.add("3,d");
    CHECK(read_text(path) == "step,x\n1,a\n2,b\n3,d\n");
    CHECK_THROWS_WITH(StepFile(path, "step,y", 9), contains("no file of this program"));
    CHECK(read_text(path) == "step,x\n1,a\n2,b\n3,d\n");
}

TEST_CASE("rows that no checkpoint goes with are set aside", "[run]") {
    const TemporaryDirectory folder;
    const std::string path = folder.write("t.csv", "step,x\n1,a\n2,b\n");
    CHECK(StepFile(path, "step,x", 0).kept().empty());
    CHECK(read_text(path) == "step,x\n");
    CHECK(read_text(path + ".earlier") == "step,x\n1,a\n2,b\n");
    folder.write("t.csv", "step,x\n7,c\n");
    CHECK(StepFile(path, "step,x", 0).kept().empty());
    CHECK(read_text(path + ".earlier-2") == "step,x\n7,c\n");
    CHECK(StepFile(path, "step,x", 0).kept().empty());  // nothing to set aside
    CHECK(!std::filesystem::exists(path + ".earlier-3"));
}

TEST_CASE("tables of before columns were added", "[run]") {
    const TemporaryDirectory folder;
    const std::string path = folder.write("t.csv", "step,x\n1,a\n2,b\n3,c\n");
    {
        StepFile file(path, "step,x,y,z", 2);
        CHECK(file.kept() == std::vector<std::string>{"1,a,,", "2,b,,"});
        std::filesystem::create_directory(folder / "step-00000002");
        folder.write("step-00000002/rows.txt", file.synced());
        file.add("3,c,d,e");
    }
    CHECK(read_text(path) == "step,x,y,z\n1,a,,\n2,b,,\n3,c,d,e\n");
    CHECK_THROWS_WITH(StepFile(path, "step,x,y,zz", 3), contains("no file of this program"));

    // a checkpoint knows what bytes the rows had before
    CHECK(StepFile(path, "step,x,y,z,w", 2).kept() == std::vector<std::string>{"1,a,,,", "2,b,,,"});
    CHECK(!std::filesystem::exists(path + ".damaged"));
}

TEST_CASE("metrics of the steps before are known again", "[run]") {
    const TemporaryDirectory folder;
    {
        MetricsFiles files(folder / "", 0);
        for (int step = 1; step <= 5; step++)
            files.add({step, 10 * step, 0.1 * step, 2.0 * step, 1e-3, 0.5, 20});
        files.add_validation(4, 1.25);
    }
    MetricsFiles files(folder / "", 4);
    const std::vector<StepMetrics> earlier = files.earlier();
    REQUIRE(earlier.size() == 4);
    CHECK((earlier[3].step == 4 && earlier[3].tokens == 40));
    CHECK(earlier[3].loss == about(0.4));  // nine digits hold it
    CHECK(earlier[3].grad_norm == 8);
    files.add_validation(4, 1.25);  // the summary of a run that had ended: once
    CHECK(read_text(folder / "validation.csv") == "step,loss\n4,1.25\n");
}

TEST_CASE("when a run has diverged", "[run]") {
    const double above = std::log(100) + 1.01, below = std::log(100) + 0.99;
    DivergenceWatch watch(100, 10);
    CHECK(watch.after(1, above, 1) == "");
    CHECK_THAT(watch.after(2, NAN, 1), contains("the loss is"));
    CHECK_THAT(watch.after(2, 1, INFINITY), contains("gradient norm is inf"));
    for (int step = 3; step <= 59; step++) CHECK(watch.after(step, above, 1) == "");
    CHECK_THAT(watch.after(60, above, 1), contains("ln V + 1 = 5.605 for 50 steps"));
    CHECK(watch.after(61, below, 1) == "");
    for (int step = 62; step <= 110; step++) CHECK(watch.after(step, above, 1) == "");
    CHECK(watch.after(111, above, 1) != "");
}

TEST_CASE("with a loss scale a gradient that is not finite is no divergence, fifty are", "[run]") {
    DivergenceWatch watch(100, 10);
    CHECK(watch.after(1, 1, INFINITY, true) == "");
    CHECK_THAT(watch.after(2, NAN, NAN, true), contains("the loss is"));
    CHECK(watch.after(3, 1, 1, true) == "");
    for (int step = 4; step < 53; step++) CHECK(watch.after(step, 1, NAN, true) == "");
    CHECK_THAT(watch.after(53, 1, NAN, true), contains("no gradient has been finite for 50 steps"));
}

TEST_CASE("where the hidden state is largest", "[run]") {
    Model<float> model(small_config(2), 1, 3);
    model.initialise(1);
    const auto forward = [&] {
        model.load({1, 3, {5, 6, 7}, {6, 7, 8}});
        model.forward();
        return largest_hidden_state(model);
    };
    // an output norm's gamma decides how large what the sub-layer adds is
    const int gamma = model.table().sublayers[2].output_norm.gamma;
    std::vector<double> values = model.values(gamma);
    values[3] = 5e5;  // times at most sqrt(8), the largest of 8 numbers of mean square 1
    model.set_values(gamma, values);
    CHECK_THAT(forward(), contains("e+05, behind attention of layer 1"));
    values[3] = NAN;
    model.set_values(gamma, values);
    CHECK_THAT(forward(), contains("nan, behind attention of layer 1"));
}

TEST_CASE("where numbers first go beyond fp16, in a state or inside of a sub-layer", "[run]") {
    Model<fp16> model(small_config(2), 1, 3);
    const auto forward = [&] {
        model.load({1, 3, {5, 6, 7}, {6, 7, 8}});
        model.forward();
        return largest_hidden_state(model);
    };
    const SubLayerIds& ids = model.table().sublayers[2];
    model.initialise(1);
    CHECK_THAT(forward(), contains("the largest |x|"));
    std::vector<double> gamma = model.values(ids.output_norm.gamma);
    gamma[3] = 1e6;
    model.set_values(ids.output_norm.gamma, gamma);
    CHECK_THAT(forward(), contains("beyond 65,504") && contains("is behind attention of layer 1"));
    // what attention gives out is beyond it, and the norm behind that makes NaN of infinity
    model.initialise(1);
    model.set_values(ids.v, std::vector<double>(8 * 8, 5));
    model.set_values(ids.o, std::vector<double>(8 * 8, 60000));
    CHECK_THAT(forward(),
               contains("beyond 65,504") && contains("is inside of attention of layer 1"));
}

TEST_CASE("auto takes the newest checkpoint that is whole", "[run]") {
    const TemporaryDirectory folder;
    Model<float> model(small_config(1), 1, 3);
    model.initialise(1);
    Optimizer<float> optimizer(model, {});
    const std::string out = folder / "";
    CHECK(resume("auto", out, model, optimizer) == "");
    for (const int step : {1, 2, 3}) {
        optimizer.set_steps(step);
        save_checkpoint(out, model, optimizer, {}, 0);
    }
    // going back would mix two futures in one directory; elsewhere it may
    CHECK_THROWS_WITH(resume(folder / "step-00000002", out, model, optimizer),
                      contains("later checkpoint") && contains("step-00000003"));
    CHECK_THAT(resume(folder / "step-00000002", folder / "elsewhere", model, optimizer),
               contains("step-00000002"));
    CHECK_THAT(resume(folder / "step-00000003/", out, model, optimizer), contains("step-00000003"));
    std::filesystem::create_directory(folder / "another");
    folder.write("another/metrics.csv", "step\n1\n");
    CHECK_THROWS_WITH(resume(folder / "step-00000002", folder / "another", model, optimizer),
                      contains("holds another run (metrics.csv)"));
    folder.write("another/metrics.csv", "step\n3\n");  // of this fork, begun before
    CHECK_NOTHROW(resume(folder / "step-00000002", folder / "another", model, optimizer));
    std::filesystem::create_directory(folder / "another/best-00000002");
    CHECK_THROWS_WITH(resume(folder / "step-00000002", folder / "another", model, optimizer),
                      contains("holds another run (best-00000002)"));
    // a checkpoint that lies elsewhere, with a link in the run's directory
    std::filesystem::create_directory(folder / "links");
    folder.write("links/metrics.csv", "step\n1\n");
    std::filesystem::create_directory_symlink(folder / "step-00000002",
                                              folder / "links/step-00000002");
    CHECK_NOTHROW(resume(folder / "links/step-00000002", folder / "links", model, optimizer));
    CHECK(directory_above(folder / "links/step-00000002") == folder / "links");
    CHECK(directory_above(folder / "links/step-00000002/") == folder / "links");
    const std::string newest = folder / "step-00000003/model.safetensors";
    std::filesystem::resize_file(newest, std::filesystem::file_size(newest) - 4);
    CHECK_THROWS_WITH(resume(folder / "step-00000003", out, model, optimizer), contains(newest));
    CHECK_THAT(resume("auto", out, model, optimizer), contains("step-00000002"));
    CHECK(optimizer.steps() == 2);
    // what was passed over is kept, and takes no good one's place
    CHECK(std::filesystem::exists(folder / "step-00000003.damaged/model.safetensors"));
    optimizer.set_steps(4);
    save_checkpoint(out, model, optimizer, {}, 2);
    const std::vector<SavedStep> saved = saved_steps(out);
    REQUIRE(saved.size() == 2);
    CHECK((saved[0].step == 4 && saved[1].step == 2));
    folder.write("step-00000004/optimizer.safetensors", "half");
    folder.write("step-00000002/optimizer.safetensors", "half");
    CHECK_THROWS_WITH(resume("auto", out, model, optimizer), contains("none of the checkpoints"));
}
