// ./train interrupted, resumed, out of space, without its data, diverged; the best weights.
#include "program.h"
#include "random.h"
#include "store/saved.h"
#include "tolerance.h"

using namespace peri;

namespace {

// As train, but once a shell command succeeds another is run; $P is the process.
Result train_when(const TemporaryDirectory& folder, const std::string& flags,
                  const std::string& condition, const std::string& action) {
    const std::string wait = " & P=$!; until " + condition +
                             " || ! kill -0 $P 2> /dev/null; do sleep 0.02; done; " + action +
                             "; wait $P; exit $?";
    const char* const program = std::getenv("TRAIN");
    const std::string command = std::string(program ? program : "./train") + " " + flags + " > " +
                                folder / "out" + " 2> " + folder / "err" + wait;
    const int status = std::system(("bash -c '" + command + "'").c_str());
    return {WEXITSTATUS(status), read(folder / "out"), read(folder / "err")};
}

// Once metrics.csv has so many rows.
Result train_until(const TemporaryDirectory& folder, const std::string& flags, int rows,
                   const std::string& action) {
    return train_when(folder, flags,
                      "[ $(wc -l < " + folder / "run/metrics.csv" +
                          " 2> /dev/null || echo 0) -gt " + std::to_string(rows) + " ]",
                      action);
}

const std::string long_run =
    " --size tiny --batch 3 --steps 400 --val-batches 1 --threads 1 --tune off --save-every 150 ";

}  // namespace

TEST_CASE("a run that is interrupted saves, says how to go on, and goes on", "[program]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run", whole = folder / "whole";
    REQUIRE(train(folder, long_run + "--out " + whole).code == 0);
    const Result r = train_until(folder, long_run + "--out " + run, 5, "kill -TERM $P");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 143);
    CHECK_THAT(r.out, contains("interrupted after step ") &&
                          contains("--resume auto --out " + run + " goes on"));
    const Result again = train_until(folder, "--resume auto --out " + run, 200, "kill -INT $P");
    CHECK(again.code == 130);
    CHECK_THAT(again.out, contains("resumed     " + run + "/step-"));
    // the settings come from the run itself
    const Result rest = train(folder, "--resume auto --out " + run);
    CAPTURE(rest.out, rest.err);
    CHECK(rest.code == 0);
    CHECK(timeless_metrics(run) == timeless_metrics(whole));
    for (const char* const file : {"/step-00000400/model.safetensors", "/validation.csv",
                                   "/probe.csv", "/hidden_variance.csv"})
        CHECK(read(run + file) == read(whole + file));
    CHECK(final_loss(rest) > 0);
}

TEST_CASE("a run that goes on shows the variances of the weights that it began with", "[program]") {
    const TemporaryDirectory folder;
    const std::string base = folder / "base", run = folder / "run";
    const auto start = [&](const std::string& flags) {
        const Result r = train(folder, flags + " --tune off --out " + run);
        CAPTURE(r.out, r.err);
        REQUIRE(r.code == 0);
        std::istringstream rows(read(run + "/hidden_variance.csv"));
        std::vector<std::string> column;
        for (std::string row; std::getline(rows, row);)
            column.push_back(row.substr(0, row.rfind(',')));
        return column;
    };
    REQUIRE(train(folder, quick + "--lr 0.1 --tune off --out " + base).code == 0);
    const std::vector<std::string> first = start(quick + "--init-from " + base);
    REQUIRE(first.size() == 10);
    CHECK(start("--steps 6 --resume auto") == first);
    fs::remove_all(base);
    for (const std::string& row : start("--steps 8 --resume auto"))
        CHECK((row == "sublayer,start" || row.ends_with(",nan")));
}

TEST_CASE("a resumed run still knows the losses of its last ten steps", "[program]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run";
    const Result whole = train(folder, quick + "--steps 12 --save-every 8 --tune off --out " + run);
    REQUIRE(whole.code == 0);
    const std::vector<double> losses = metric(run, "loss");
    double sum = 0;
    for (size_t i = 2; i < 12; i++) sum += losses.at(i);
    CHECK(number_after(whole.out, "final train loss ") == near(sum / 10, 1e-4));
    fs::remove_all(run + "/step-00000012");
    const Result rest = train(folder, "--resume auto --out " + run);
    CAPTURE(rest.out, rest.err);
    REQUIRE(rest.code == 0);
    CHECK(number_after(rest.out, "final train loss ") ==
          number_after(whole.out, "final train loss "));
}

// The first comes while the run is validated at its end, which would go on for many seconds.
TEST_CASE("a second interrupt ends a run at once", "[program]") {
    const TemporaryDirectory folder;
    const Result r =
        train_when(folder,
                   " --size tiny --batch 16 --steps 2 --val-batches 20000 --threads 1 "
                   "--tune off --out " +
                       folder / "run",
                   "[ $(wc -l < " + folder / "run/metrics.csv" + " 2> /dev/null || echo 0) -gt 2 ]",
                   "kill -INT $P; sleep 0.3; kill -INT $P");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 130);
    CHECK(r.out.find("final val loss") == std::string::npos);
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
    says("--resume " + folder / "nowhere", "is no checkpoint's directory: name one");
    says("--resume " + run, "is no checkpoint's directory: give --resume auto --out " + run);
    CHECK(!fs::exists(folder / "lock"));  // in the directory above
    says("--resume auto --steps 3 --out " + run, "--steps 3: this run has done 6 already");
    says("--evaluate --resume " + run + "/step-00000006 --init-from " + run, "is for training");
    says("--layers 3 --resume " + run + "/step-00000006", "of another model");
    says("--resume " + run + "/step-00000004", "later checkpoint");
    fs::resize_file(run + "/step-00000006/model.safetensors", 1000);
    says("--resume " + run + "/step-00000006", "model.safetensors");
    const Result passed = train(folder, "--resume auto --out " + run);
    CHECK(passed.code == 0);
    CHECK_THAT(passed.err, contains("passed over: ") && contains("step-00000006"));
}

namespace {

struct Row {
    int64_t step;
    double loss;
};

Row lowest_validation(const std::string& run) {
    std::istringstream rows(read(run + "/validation.csv"));
    std::string row;
    std::getline(rows, row);  // the titles
    Row lowest = {0, INFINITY};
    while (std::getline(rows, row)) {
        const Row r = {std::stoll(row), std::stod(row.substr(row.find(',') + 1))};
        if (r.loss < lowest.loss) lowest = r;
    }
    return lowest;
}

// A text without sense, so that what is learned by heart does not help with other texts.
std::string noise(int size, uint64_t seed) {
    Rng rng(seed);
    std::string text;
    for (int i = 0; i < size; i++) text += static_cast<char>('a' + rng.below(4));
    return text;
}

}  // namespace

// 6 windows of 64 held-out tokens, each of which a validation and --evaluate see once.
TEST_CASE("--keep-best keeps the weights of the lowest validation loss", "[program]") {
    const TemporaryDirectory folder;
    const std::string val = folder.write("val.txt", noise(6 * 64 + 1, 1));
    const std::string flags = quick + "--data " + folder.write("book.txt", noise(400, 2)) +
                              " --val-data " + val +
                              " --tune off --warmup 0 --decay constant --lr 5e-3 --val-every 4"
                              " --save-every 20 --keep 1 --keep-best ";
    const std::string whole = folder / "whole";
    const Result r = train(folder, flags + "--steps 80 --out " + whole);
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    const Row lowest = lowest_validation(whole);
    CHECK((lowest.step > 4 && lowest.step < 60));  // learned by heart in the end
    char expected[80];
    std::snprintf(expected, sizeof expected,
                  "\nbest validation loss %.4f at step %d: ", lowest.loss,
                  static_cast<int>(lowest.step));
    const std::string best = whole + "/" + best_name(lowest.step);
    CHECK_THAT(r.out, contains(expected + best + "\nfinal train loss "));
    REQUIRE(saved_bests(whole).size() == 1);
    CHECK(saved_bests(whole)[0].path == best);

    const Result e = train(folder, "--evaluate --init-from " + best + " --data " + val);
    CAPTURE(e.out, e.err);
    const std::string title = "\nloss ";
    REQUIRE(e.out.find(title) != std::string::npos);
    // printed to 1e-6
    const double loss = std::stod(e.out.substr(e.out.find(title) + title.size()));
    CHECK(loss == near(lowest.loss, of_format(1e-6) + 1e-7));

    // stopped before and after the best, and gone on with
    for (const int stop : {4, static_cast<int>(lowest.step), 60}) {
        const std::string run = folder / ("run" + std::to_string(stop));
        const std::string steps = " --steps " + std::to_string(stop);
        CHECK(train(folder, flags + steps + " --out " + run).code == 0);
        const Result rest = train(folder, "--steps 80 --resume auto --out " + run);
        CAPTURE(stop, rest.out, rest.err);
        CHECK(rest.code == 0);
        CHECK_THAT(rest.out, contains(expected + run));
        REQUIRE(saved_bests(run).size() == 1);
        CHECK(read(saved_bests(run)[0].path + "/model.safetensors") ==
              read(best + "/model.safetensors"));
    }
    const Result refused = train(folder, "--resume " + best);
    CHECK(refused.code == 2);
    CHECK_THAT(refused.err, contains(best + ": holds weights alone") && contains("--init-from"));
    CHECK(train(folder, "--init-from " + best + " --steps 1 --val-batches 1 --size tiny --out " +
                            folder / "tuned")
              .code == 0);
}

// The final validation counts, and it alone where there is no other.
TEST_CASE("--keep-best without validations on the way", "[program]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run";
    const Result r = train(folder, quick + "--val-every 0 --save-every 0 --keep-best --out " + run);
    CAPTURE(r.out, r.err);
    CHECK(r.code == 0);
    CHECK_THAT(r.out, contains(" at step 4: " + run + "/best-00000004\n"));
    CHECK(fs::exists(run + "/best-00000004/model.safetensors"));
}

TEST_CASE("data that is cut short during a run: one sentence, and the checkpoint stays",
          "[program]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run", whole = folder / "whole", text = noise(20000, 3);
    const std::string book = folder.write("book.txt", text);
    const std::string flags = long_run + "--data " + book + " --out ";
    REQUIRE(train(folder, flags + whole).code == 0);
    const Result r = train_until(folder, flags + run, 170, "truncate -s 10000 " + book);
    CAPTURE(r.out, r.err);
    CHECK(r.code == 2);
    CHECK_THAT(r.err, contains("--data '" + book + "' was changed while it was in use"));
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
    CHECK(saved_steps(run).size() == 1);
    folder.write("book.txt", text);
    // deleted, it is read to the end by the process that has opened it
    const Result rest = train_until(folder, "--resume auto --out " + run, 200, "rm " + book);
    CAPTURE(rest.out, rest.err);
    CHECK(rest.code == 0);
    CHECK(timeless_metrics(run) == timeless_metrics(whole));
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

// The signal comes while the run, which has said that it diverged, measures its hidden states.
TEST_CASE("a run that is interrupted as it diverges keeps its good checkpoints", "[program]") {
    const TemporaryDirectory folder;
    const std::string run = folder / "run";
    const Result r = train_when(
        folder,
        " --threads 1 --tune off --val-batches 1 --norm output --final-norm off --clip 0 "
        "--optimizer sgd --lr 100 --warmup 0 --steps 300 --batch 8 --seq 64 --out " +
            run,
        "grep -qs diverged " + folder / "err", "kill -TERM $P");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 3);
    CHECK(r.out.find("interrupted") == std::string::npos);
    for (const auto& entry : fs::directory_iterator(run))
        CHECK(entry.path().filename().string().substr(0, 5) != "step-");
}
