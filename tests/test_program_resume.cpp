// ./train interrupted, resumed, out of space, diverged.
#include "program.h"

using namespace peri;

namespace {

// As train, but a signal is sent once metrics.csv has so many rows.
Result train_until(const TemporaryDirectory& folder, const std::string& flags, int rows,
                   const std::string& signal) {
    const std::string wait = " & P=$!; until [ $(wc -l < " + folder / "run/metrics.csv" +
                             " 2> /dev/null || echo 0) -gt " + std::to_string(rows) +
                             " ]; do sleep 0.02; done; kill -" + signal + " $P; wait $P; exit $?";
    const char* const program = std::getenv("TRAIN");
    const std::string command = std::string(program ? program : "./train") + " " + flags + " > " +
                                folder / "out" + " 2> " + folder / "err" + wait;
    const int status = std::system(("bash -c '" + command + "'").c_str());
    return {WEXITSTATUS(status), read(folder / "out"), read(folder / "err")};
}

const std::string long_run =
    " --size tiny --batch 3 --steps 400 --val-batches 1 --threads 1 --tune off --save-every 150 ";

}  // namespace

TEST_CASE("a run that is interrupted saves, says how to go on, and goes on", "[program]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run", whole = folder / "whole";
    REQUIRE(train(folder, long_run + "--out " + whole).code == 0);
    const Result r = train_until(folder, long_run + "--out " + run, 5, "TERM");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 143);
    CHECK_THAT(r.out, contains("interrupted after step ") &&
                          contains("--resume auto --out " + run + " goes on"));
    const Result again = train_until(folder, "--resume auto --out " + run, 200, "INT");
    CHECK(again.code == 130);
    CHECK_THAT(again.out, contains("resumed     " + run + "/step-"));
    // the settings come from the run itself
    const Result rest = train(folder, "--resume auto --out " + run);
    CAPTURE(rest.out, rest.err);
    CHECK(rest.code == 0);
    CHECK(timeless_metrics(run) == timeless_metrics(whole));
    for (const char* const file :
         {"/step-00000400/model.safetensors", "/validation.csv", "/probe.csv"})
        CHECK(read(run + file) == read(whole + file));
    CHECK(final_loss(rest) > 0);
}

TEST_CASE("a run cannot be resumed from what is not a checkpoint", "[program]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run";
    REQUIRE(train(folder, quick + "--tune off --out " + run).code == 0);
    const Result more = train(folder, "--steps 6 --resume " + run + "/step-00000004");
    CAPTURE(more.out, more.err);
    CHECK(more.code == 0);
    CHECK(fs::exists(run + "/step-00000006"));
    CHECK(timeless_metrics(run).size() == 7);

    const auto says = [&](const std::string& flags, const std::string& part) {
        const Result r = train(folder, flags);
        CAPTURE(flags, r.err);
        CHECK(r.code == 2);
        CHECK_THAT(r.err, contains(part));
    };
    says("--resume auto", "needs --out");
    says("--resume " + folder / "nowhere", "nowhere/config.json");
    says("--layers 3 --resume " + run + "/step-00000006", "of another model");
    fs::resize_file(run + "/step-00000006/model.safetensors", 1000);
    says("--resume " + run + "/step-00000006", "model.safetensors");
    const Result passed = train(folder, "--resume auto --out " + run);
    CHECK(passed.code == 0);
    CHECK_THAT(passed.err, contains("passed over: ") && contains("step-00000006"));
}

// A limit on the size of files stands for a disk that is full.
TEST_CASE("a full disk: one sentence, and the last checkpoint stays", "[program]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run";
    REQUIRE(train(folder, quick + "--tune off --out " + run).code == 0);
    const Result r =
        train(folder, "--steps 8 --resume auto --out " + run, "trap \"\" XFSZ; ulimit -f 100;");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 2);
    CHECK_THAT(r.err, contains("cannot be written"));
    CHECK(r.err.find('\n') == r.err.size() - 1);
    CHECK(fs::exists(run + "/step-00000004/model.safetensors"));
    CHECK(train(folder, "--steps 8 --resume auto --out " + run).code == 0);
    CHECK(fs::exists(run + "/step-00000008"));
    CHECK_FALSE(fs::exists(run + "/unfinished"));
}

TEST_CASE("a run that diverges says when, how and where", "[program]") {
    const TemporaryDirectory folder;
    const std::string wild = quick +
                             "--norm output --final-norm off --clip 0 --optimizer sgd "
                             "--lr 100 --warmup 0 --steps 300 ";
    const Result r = train(folder, wild + "--out " + folder / "run");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 3);
    CHECK_THAT(r.err, contains("diverged at step ") && contains("the largest |x|"));
    const std::string step = r.err.substr(17, r.err.find(':') - 17);
    CHECK_THAT(read(folder / "run/probe.csv"), contains("\n" + step + ",8,hidden_variance,nan\n"));
    const Result on = train(folder, wild + "--on-divergence continue --out " + folder / "on");
    CHECK(on.code == 0);
    CHECK(timeless_metrics(folder / "on").size() == 301);
}
