// ./train as a user meets it: what it prints, what it leaves, and how it answers mistakes.
// The program's path is in the environment variable TRAIN (default ./train).
#include <sys/wait.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "catch.h"
#include "checkpoint.h"
#include "cpu/libraries.h"
#include "generate.h"
#include "helpers.h"

using namespace peri;
namespace fs = std::filesystem;

namespace {

struct Result {
    int code;
    std::string out, err;
};

std::string read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

Result train(const TemporaryDirectory& folder, const std::string& flags,
             const std::string& environment = "") {
    const char* const program = std::getenv("TRAIN");
    const std::string command = environment + " " + (program ? program : "./train") + " " + flags +
                                " > " + folder / "out" + " 2> " + folder / "err";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read(folder / "out"),
            read(folder / "err")};
}

// NAN where none was printed
double final_loss(const Result& r) {
    const std::string title = "final val loss ";
    const size_t last = r.out.rfind(title);
    return last == std::string::npos ? NAN : std::stod(r.out.substr(last + title.size()));
}

// The rows of a run's metrics.csv without the two columns that tell time.
std::vector<std::string> timeless_metrics(const std::string& run) {
    std::istringstream rows(read(run + "/metrics.csv"));
    std::vector<std::string> timeless;
    for (std::string row; std::getline(rows, row);)
        timeless.push_back(row.substr(0, row.rfind(',', row.rfind(',') - 1)));
    return timeless;
}

const std::string quick = " --size tiny --batch 3 --steps 4 --val-batches 2 --threads 1 ";

}  // namespace

TEST_CASE("a run on a text file: summary, metrics, hidden state", "[program]") {
    const TemporaryDirectory folder;
    std::string text;
    for (int i = 0; i < 2000; i++) text += "line " + std::to_string(i) + " of a small book\n";
    const std::string book = folder.write("book.txt", text);
    const Result r =
        train(folder, quick + "--norm pre --data " + book + " --out " + folder / "run");
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK(r.err == "");
    CHECK_THAT(r.out, contains("core "));
    CHECK_THAT(r.out, contains("y = x + Module(Norm(x))"));
    CHECK_THAT(r.out, contains("step 4/4  loss "));
    CHECK_THAT(r.out, contains("\nfinal train loss "));
    CHECK_THAT(r.out, contains("\nfinal val loss "));
    const double loss = final_loss(r);
    CHECK((loss > 3 && loss < 6));  // about ln 256 = 5.5 after four steps

    std::istringstream metrics(read(folder / "run/metrics.csv"));
    std::string line;
    std::getline(metrics, line);
    CHECK(line == "step,tokens,loss,grad_norm,lr,ms,tokens_per_s");
    int rows = 0;
    while (std::getline(metrics, line)) rows++;
    CHECK(rows == 4);
    CHECK_THAT(read(folder / "run/hidden_variance.csv"), contains("sublayer,start,end\n0,"));
}

TEST_CASE("a run on the stories prints its floor", "[program]") {
    const TemporaryDirectory folder;
    const Result r = train(folder, quick + "--out " + folder / "run");
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK_THAT(r.out, contains("floor "));
    CHECK_THAT(r.out, contains("y = x + Norm(Module(Norm(x)))"));
}

TEST_CASE("--config with a run's config.json repeats the run", "[program]") {
    const TemporaryDirectory folder;
    const auto metrics = [&](const std::string& run) { return timeless_metrics(folder / run); };
    const std::string flags = quick + "--tune off --norm pre --seed 3 --lr 1.7e-3 --out ";
    REQUIRE(train(folder, flags + folder / "first").code == 0);
    const std::string repeat = "--config " + folder / "first/config.json" + " --out ";
    const Result again = train(folder, repeat + folder / "again");
    CAPTURE(again.out, again.err);
    REQUIRE(again.code == 0);
    REQUIRE(metrics("first").size() == 5);
    CHECK(metrics("again") == metrics("first"));
    CHECK(read(folder / "again/config.json") == read(folder / "first/config.json"));
    REQUIRE(train(folder, repeat + folder / "other --seed 4").code == 0);
    CHECK(metrics("other") != metrics("first"));
}

TEST_CASE("--accumulate: the same run in smaller batches", "[program]") {
    const TemporaryDirectory folder;
    const std::string flags = " --size tiny --norm pre --steps 4 --val-batches 2 --threads 1 ";
    const Result whole = train(folder, flags + "--batch 6 --out " + folder / "whole");
    const Result parts =
        train(folder, flags + "--batch 2 --accumulate 3 --out " + folder / "parts");
    CAPTURE(parts.out, parts.err);
    REQUIRE(whole.code == 0);
    REQUIRE(parts.code == 0);
    CHECK_THAT(whole.out, contains("4 steps of 6 x 64 tokens"));
    CHECK_THAT(parts.out, contains("4 steps of 3 x 2 x 64 tokens"));
    // printed to 1e-4; the sums' order differs by far less
    CHECK(std::abs(final_loss(parts) - final_loss(whole)) < 1.5e-4);
    const std::vector<std::string> rows = timeless_metrics(folder / "parts");
    const std::vector<std::string> expected = timeless_metrics(folder / "whole");
    REQUIRE(rows.size() == 5);
    for (size_t i = 1; i < rows.size(); i++) {
        double step, tokens, loss, norm, step2, tokens2, loss2, norm2;
        REQUIRE(std::sscanf(rows[i].c_str(), "%lf,%lf,%lf,%lf", &step, &tokens, &loss, &norm) == 4);
        REQUIRE(std::sscanf(expected[i].c_str(), "%lf,%lf,%lf,%lf", &step2, &tokens2, &loss2,
                            &norm2) == 4);
        CHECK(tokens == i * 6 * 64.0);
        CHECK(std::abs(loss - loss2) < 1e-4 * loss2);
        CHECK(std::abs(norm - norm2) < 1e-3 * norm2);
    }
}

TEST_CASE("--precision bf16 trains", "[program]") {
    const TemporaryDirectory folder;
    const std::string flags = quick + "--steps 40 --precision bf16 --out " + folder / "run";
    const Result r = train(folder, flags);
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK(r.err == "");
    CHECK_THAT(r.out, contains("bf16 with fp32 master weights"));
    CHECK(final_loss(r) < std::log(256));
}

TEST_CASE("--check runs beside the oracle in place of training", "[program]") {
    const TemporaryDirectory folder;
    for (const char* precision : {"fp32", "bf16"}) {
        const std::string out = folder / precision;
        const std::string flags = quick + "--layers 2 --check 2 --precision " + precision;
        const Result r = train(folder, flags + " --out " + out);
        CAPTURE(r.out, r.err);
        REQUIRE(r.code == 0);
        CHECK_THAT(r.out, contains("\ncheck: 2 steps: largest error "));
        CHECK(r.out.find("final val loss") == std::string::npos);
        CHECK_FALSE(fs::exists(out + "/metrics.csv"));
        const std::string csv = read(out + "/check.csv");
        CHECK_THAT(csv, contains("step,stage,tensor,layer,error,tolerance\n"
                                 "1,hidden,embedding_norm,,"));
        CHECK_THAT(csv, contains("\n2,gradient,layers.1.mlp.down.weight,1,"));
        CHECK_THAT(csv, contains("\n2,weight,head.weight,,"));

        const Result again = train(folder, flags + " --out " + out);
        CHECK(again.code == 2);
        CHECK_THAT(again.err, contains("check.csv"));
    }
}

// A run that explodes overflows in float long before it does in double.
TEST_CASE("--check names the first tensor that differs, with exit code 4", "[program]") {
    const TemporaryDirectory folder;
    const Result r = train(folder,
                           " --size tiny --norm output --final-norm off --clip 0 --optimizer sgd "
                           "--lr 100 --warmup 0 --batch 2 --check 200 --out " +
                               folder / "run");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 4);
    CHECK_THAT(r.out, contains(" differs: error "));
    CHECK(r.out.find("\ncheck: ") == std::string::npos);
}

TEST_CASE("--dry-run allocates nothing", "[program]") {
    const TemporaryDirectory folder;
    // an address space of 4 GB would not hold the 25 GB of weights and moments
    const Result r = train(folder, "--size 1.5b --norm peri --vocab 100277 --batch 1 --dry-run",
                           "ulimit -v 4000000; OMP_NUM_THREADS=1");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 0);
    CHECK_THAT(r.out, contains("1535"));
    for (const char* part : {"weights", "gradients", "optimizer", "activations", "workspace"})
        CHECK_THAT(r.out, contains(part));
}

TEST_CASE("--memory plans for another device", "[program]") {
    const TemporaryDirectory folder;
    const Result r = train(folder,
                           "--size 1.5b --precision bf16 --vocab 100277 --batch 8 --accumulate 32 "
                           "--data none.bin --memory 141 --dry-run",
                           "ulimit -v 4000000; OMP_NUM_THREADS=1");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 0);
    CHECK_THAT(r.out, contains("steps of 32 x 8 x 8192 tokens"));
    CHECK_THAT(r.out, contains("of 141.0 GB"));
    CHECK_THAT(r.out, contains("--recompute none: --batch 4 --accumulate 64 ("));
    CHECK(r.out.find("backend") == std::string::npos);
    const Result small = train(folder, quick + "--memory 0.002 --out " + folder / "run");
    CHECK(small.code == 2);
    CHECK_THAT(small.err, contains("this run needs "));
}

TEST_CASE("more memory than there is: a sentence, exit code 2", "[program]") {
    const TemporaryDirectory folder;
    const Result r = train(folder, "--size 1.5b --batch 1 --steps 1 --out " + folder / "run",
                           "ulimit -v 4000000; OMP_NUM_THREADS=1");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 2);
    CHECK_THAT(r.err, contains("this run needs "));
    CHECK_THAT(r.err, contains(" MiB left: --size "));
    CHECK_THAT(r.err, contains(" fits ("));
    CHECK_FALSE(fs::exists(folder / "run"));
    // told that there is more: the allocation fails, and the answer is the same
    const Result told =
        train(folder, "--size 1.5b --batch 1 --steps 1 --memory 1000 --out " + folder / "run",
              "ulimit -v 4000000; OMP_NUM_THREADS=1");
    CAPTURE(told.err);
    CHECK(told.code == 2);
    CHECK_THAT(told.err, contains("has no memory for "));
    CHECK_THAT(told.err, contains(" MiB are left): --size "));
    CHECK_THAT(told.err, contains(" fits ("));
    CHECK(std::count(told.err.begin(), told.err.end(), '\n') == 1);
    CHECK_FALSE(fs::exists(folder / "run"));
}

TEST_CASE("mistakes are answered in one sentence with cause and remedy, exit code 2", "[program]") {
    const TemporaryDirectory folder;
    const std::vector<uint16_t> tokens(4000, 7);
    const std::string empty = folder.write("empty.txt", "");
    const std::string little = folder.write("short.txt", "too short");
    const std::string cut = folder.write("cut.bin", shard(20240520, 1, 4001, tokens));
    const std::string magic = folder.write("magic.bin", shard(1234, 1, 4000, tokens));
    const std::string negative = folder.write("negative.bin", shard(20240520, 1, -4000, tokens));
    const std::string good = folder.write("good.bin", shard(20240520, 1, 4000, tokens));
    struct Mistake {
        std::string flags, cause, remedy;
    };
    const std::vector<Mistake> mistakes = {
        {"--data " + folder / "missing.txt", "missing.txt", "check the path"},
        {"--data " + folder / "*.none", "*.none", "check the path"},
        {"--data " + empty, "empty.txt", "is empty"},
        {"--data " + little, "short.txt", "--seq"},
        {"--data " + folder / "", "is a directory", "name a file"},
        {"--data " + cut, "cut.bin", "copy or write it again"},
        {"--data " + magic, "magic.bin", "llm.c's data scripts"},
        {"--data " + negative, "negative.bin", "write it again"},
        {"--data " + good + " --vocab 5", "--vocab 5", "give at least 8"},
        {"--heads 3", "--heads 3", "choose a divisor"},
        {"--heads 4 --kv-heads 3", "--kv-heads 3", "choose a divisor"},
        {"--width 20 --heads 4", "RoPE", "change either"},
        {"--norm sideways", "sideways", "peri"},
        {"--norm post:3,peri:2", "5 layers", "--layers"},
        {"--norm post:x,peri:2", "post:x", "such as post:3"},
        {"--norm simple --qk-norm head", "--qk-norm", "leave --qk-norm at auto"},
        {"--qk-norm both", "both", "full"},
        {"--size huge", "huge", "small"},
        {"--lr -1e-3", "--lr -1e-3", "must be a number"},
        {"--lr fast", "--lr fast", "must be a number"},
        {"--lr nan", "--lr nan", "must be a number"},
        {"--steps 0", "--steps 0", "must be"},
        {"--check -1", "--check -1", "must be a number"},
        {"--check all", "--check all", "must be a number"},
        {"--check 1.5", "--check 1.5", "whole number"},
        {"--check 9", "--check 9", "raise --steps"},
        {"--steps 1.5", "--steps 1.5", "whole number"},
        {"--batch 0", "--batch 0", "must be"},
        {"--seq 0", "--seq 0", "must be"},
        {"--layers 0", "--layers 0", "must be"},
        {"--decay slowly", "slowly", "cosine"},
        {"--init large", "large", "normal:S"},
        {"--embedding-norm maybe", "maybe", "off"},
        {"--colour red", "colour", "--help"},
        {"peri", "peri", "--help"},
        {"--norm pre --freeze-output-gamma", "no output norm", "choose peri"},
        {"--seed 1.5", "--seed 1.5", "whole number"},
        {"--precision fp16", "--precision fp16", "choose one of fp32, tf32, bf16"},
        {"--precision tf32", "NVIDIA", "use fp32 or bf16"},
        {"--layers 1000000000", "--layers", "must be"},
        {"--batch 1048576 --seq 8192", "2^24", "choose less"},
        {"--batch 16 --seq 8192 --accumulate 1048576", "2^28", "choose less"},
        {"--accumulate 0", "--accumulate 0", "must be"},
        {"--layers 1000 --width 65536 --ffn 262144", "MiB", "choose a smaller"},
        {"--norm", "norm", "--help"},
        {"--config " + folder / "none.json", "none.json", "give the path"},
        {"--config " + folder.write("run.json", "{\"heads\": 3}"), "run.json", "choose a divisor"},
    };
    for (const Mistake& m : mistakes) {
        const std::string out = folder / "new";
        const Result r = train(folder, quick + "--out " + out + " " + m.flags);
        CAPTURE(m.flags, r.out, r.err);
        CHECK(r.code == 2);
        CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
        CHECK_THAT(r.err, contains(m.cause));
        CHECK_THAT(r.err, contains(m.remedy));
        CHECK_FALSE(fs::exists(out));
    }
}

TEST_CASE("fine-tuning on samples for some epochs", "[program]") {
    const TemporaryDirectory folder;
    std::string samples;
    for (int i = 0; i < 20; i++)
        samples += R"({"prompt": "say )" + std::to_string(i) +
                   R"(: ", "completion": "so"})"
                   "\n";
    const std::string file = folder.write("samples.jsonl", samples);
    const std::string flags =
        " --size tiny --seq 16 --batch 4 --accumulate 2 --epochs 32 --lr 1e-2 "
        "--threads 1 --val-batches 1 --data " +
        file;
    const Result r = train(folder, flags + " --out " + folder / "run");
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK_THAT(r.out, contains("19 samples to train on, 1 held out"));
    CHECK_THAT(r.out, contains("76 steps of 2 x 4 x 16 tokens"));  // 32 x 19 / 8
    CHECK(final_loss(r) < 0.1);  // of three certain bytes; with the prompt's digits it would not be
    const Result epochs = train(folder, quick + "--epochs 2 --out " + folder / "no");
    CHECK(epochs.code == 2);
    CHECK_THAT(epochs.err, contains("only a .jsonl file has"));
}

TEST_CASE("an earlier run is never overwritten", "[program]") {
    const TemporaryDirectory folder;
    REQUIRE(train(folder, quick + "--out " + folder / "run").code == 0);
    const std::string before = read(folder / "run/metrics.csv");
    const Result r = train(folder, quick + "--seed 2 --out " + folder / "run");
    CHECK(r.code == 2);
    CHECK_THAT(r.err, contains("choose another"));
    CHECK(read(folder / "run/metrics.csv") == before);
}

TEST_CASE("a diverging run stops with exit code 3", "[program]") {
    const TemporaryDirectory folder;
    const Result r = train(folder,
                           " --size tiny --norm output --final-norm off --clip 0 --optimizer "
                           "sgd --lr 100 --warmup 0 --steps 200 --batch 2 --out " +
                               folder / "run");
    CAPTURE(r.err);
    CHECK(r.code == 3);
    CHECK_THAT(r.err, contains("diverged at step"));
}

TEST_CASE("--help names every flag with its default", "[program]") {
    const TemporaryDirectory folder;
    const Result r = train(folder, "--help");
    CHECK(r.code == 0);
    for (const char* text : {"--norm", "(default: peri)", "--lr", "(default: 4e-3)", "--out"})
        CHECK_THAT(r.out, contains(text));
}

// ---- evaluate and generate ----------------------------------------------------------------------

// `tiny` with random weights, and a checkpoint of it as a run leaves it: FOLDER/step-00000000.
Model<float> random_tiny(int vocab) {
    ModelConfig config = model_of(find_size("tiny"));
    config.norm = "olmo2";
    config.vocab = vocab;
    resolve(config, "auto", Choice::automatic, Choice::automatic);
    Model<float> model(config, 1, 64);
    model.initialise(4);
    return model;
}

std::string save_tiny(const TemporaryDirectory& folder, int vocab, const std::string& settings) {
    Model<float> model = random_tiny(vocab);
    const Optimizer<float> optimizer(model, {});
    save_checkpoint<float>(folder / "", model, optimizer, {{"config.json", settings}}, 0);
    return folder / "step-00000000";
}

double number_after(const std::string& text, const std::string& title) {
    const size_t at = text.find(title);
    return at == std::string::npos ? NAN : std::stod(text.substr(at + title.size()));
}

const std::string tiny_settings = R"({"size": "tiny", "norm": "olmo2", "threads": 1, "steps": 9})";

TEST_CASE("--generate writes the prompt and its continuation, and nothing else", "[program]") {
    const TemporaryDirectory folder;
    const std::string weights = " --init-from " + save_tiny(folder, 256, tiny_settings);
    const std::string flags = weights + " --generate 90 --prompt 'Once upon'";  // --seq is 64
    const Result r = train(folder, flags);
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK(r.err == "");
    CHECK(r.out.substr(0, 9) == "Once upon");
    CHECK(r.out.size() == 9 + 90 + 1);
    CHECK(r.out.back() == '\n');
    CHECK(train(folder, flags).out == r.out);
    CHECK(train(folder, flags + " --seed 2").out != r.out);
    CHECK(train(folder, flags + " --temperature 0.1").out != r.out);
    const std::string likeliest = train(folder, flags + " --temperature 0").out;
    CHECK(likeliest != r.out);
    CHECK(train(folder, flags + " --temperature 0 --seed 2").out == likeliest);
    CHECK(train(folder, flags + " --top-k 1").out == likeliest);
    CHECK(train(folder, flags + " --top-p 0").out == likeliest);
    CHECK(train(folder, weights + " --generate 5").out.size() == 6);
}

// A story begins after an end of text, 0; in other texts there need be none.
TEST_CASE("--generate: what the model reads before the prompt", "[program]") {
    const TemporaryDirectory folder;
    const std::string weights = " --init-from " + save_tiny(folder, 256, tiny_settings);
    Model<float> model = random_tiny(256);
    const auto expected = [&](const std::vector<int>& read, size_t unprinted) {
        const std::vector<int> text = generate<float>(model, read, 9, {0}, Rng(1));
        return readable({text.begin() + unprinted, text.end()}, 256) + "\n";
    };
    const std::string flags = weights + " --temperature 0 --generate 9 ";
    CHECK(train(folder, flags + "--prompt On").out == expected({0, 'O', 'n'}, 1));
    CHECK(train(folder, flags + "--prompt On --data book.txt").out == expected({'O', 'n'}, 0));
    CHECK(train(folder, flags + "--data book.txt").out == expected({0}, 1));
    CHECK(expected({0, 'O', 'n'}, 1) != expected({'O', 'n'}, 0));
}

TEST_CASE("--generate with a larger vocabulary: numbers", "[program]") {
    const TemporaryDirectory folder;
    const std::string weights = " --init-from " + save_tiny(folder, 300, tiny_settings);
    const Result r = train(folder, weights + " --generate 4 --prompt '12 299' --temperature 50");
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK(r.out.substr(0, 7) == "12 299 ");
    CHECK(std::count(r.out.begin(), r.out.end(), ' ') == 6);
    const Result bad = train(folder, weights + " --generate 4 --prompt '12 300'");
    CHECK(bad.code == 2);
    CHECK_THAT(bad.err, contains("'300' is none of the model's tokens, 0 to 299"));
}

TEST_CASE("--evaluate prints loss, perplexity and bits over the whole file", "[program]") {
    const TemporaryDirectory folder;
    std::string text;
    for (int i = 0; i < 40; i++) text += "line " + std::to_string(i * i) + "\n";
    const std::string book = folder.write("book.txt", text);
    const std::string weights = " --init-from " + save_tiny(folder, 256, tiny_settings);
    const Result r = train(folder, weights + " --evaluate --data " + book);
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK(number_after(r.out, "\ntokens ") == double(text.size() - 1));
    const double loss = number_after(r.out, "\nloss ");
    CHECK((loss > 5.2 && loss < 5.9));  // weights at random: about ln 256 = 5.55
    CHECK(number_after(r.out, "\nperplexity ") == Approx(std::exp(loss)).epsilon(1e-4));
    CHECK(number_after(r.out, "\nbits ") == Approx(loss / std::log(2)).epsilon(1e-5));
    CHECK_THAT(r.out, contains(" a byte\n"));
    // how much is computed at once changes nothing but rounding
    const Result other = train(folder, weights + " --evaluate --batch 3 --data " + book);
    CHECK(number_after(other.out, "\nloss ") == Approx(loss).epsilon(1e-6));

    const std::string tokens = folder.write("a.bin", shard(std::vector<uint16_t>(100, 255)));
    const Result shards = train(folder, weights + " --evaluate --data " + tokens);
    CHECK_THAT(shards.out, contains(" a token (how many bytes"));
    CHECK(number_after(shards.out, "\ntokens ") == 99);
    const std::string large = folder.write("b.bin", shard(std::vector<uint16_t>(100, 256)));
    const Result refused = train(folder, weights + " --evaluate --data " + large);
    CHECK(refused.code == 2);
    CHECK_THAT(refused.err, contains("holds token 256"));
}

// The same batches as in the validation of a training run that starts from these weights and does
// not learn.
TEST_CASE("--evaluate on the stories is the validation of training", "[program]") {
    const TemporaryDirectory folder;
    const std::string weights = " --init-from " + save_tiny(folder, 256, tiny_settings);
    const std::string size = " --batch 2 --accumulate 2 --val-batches 3";
    const Result r = train(folder, weights + size + " --evaluate");
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK(number_after(r.out, "\ntokens ") == 3 * 4 * 64);
    const Result trained =
        train(folder, weights + size + " --config " + folder / "step-00000000/config.json" +
                          " --lr 0 --steps 1 --out " + folder / "run");
    REQUIRE(trained.code == 0);
    // printed to 1e-4
    CHECK(std::abs(final_loss(trained) - number_after(r.out, "\nloss ")) < 1e-4);
}

TEST_CASE("mistakes with --evaluate and --generate", "[program]") {
    const TemporaryDirectory folder;
    const std::string weights = " --init-from " + save_tiny(folder, 256, tiny_settings);
    const std::string no_json = folder.write("config.json", "no JSON");
    struct Mistake {
        std::string flags, cause, remedy;
    };
    for (const Mistake& m : std::vector<Mistake>{
             {"--evaluate", "--evaluate needs weights", "give --init-from"},
             {"--generate 3", "--generate needs weights", "give --init-from"},
             {"--generate 3 --evaluate" + weights, "one job each", "choose one"},
             {"--generate 3 --check 1" + weights, "one job each", "choose one"},
             {"--generate -1" + weights, "--generate -1", "must be a number"},
             {"--generate 3 --temperature -1" + weights, "--temperature -1", "must be a number"},
             {"--generate 3 --top-p 1.5" + weights, "--top-p 1.5", "must be a number"},
             {"--generate 3 --top-k 1.5" + weights, "--top-k 1.5", "whole number"},
             {"--prompt Once" + weights, "--prompt", "give --generate N"},
             {"--top-k 4" + weights, "--top-k", "give --generate N"},
             {"--generate 3 --norm pre" + weights, "input_norm", "the flags"},
             {"--generate 3 --init-from " + folder / "none", "none", "cannot be"},
             {"--generate 3 --init-from " + folder / "", "config.json", "JSON"},
             {"--evaluate --data " + folder / "none" + weights, "does not exist", "check the path"},
         }) {
        const Result r = train(folder, m.flags);
        CAPTURE(m.flags, r.out, r.err);
        CHECK(r.code == 2);
        CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
        CHECK_THAT(r.err, contains(m.cause));
        CHECK_THAT(r.err, contains(m.remedy));
    }
}

// ---- OpenBLAS put right ------------------------------------------------------------------------

TEST_CASE("which OpenBLAS core a processor should run", "[openblas]") {
    const CpuFeatures old = {false, false}, avx2 = {true, false}, avx512 = {true, true};
    CHECK(better_core("Prescott", old) == "");
    CHECK(better_core("Prescott", avx2) == "HASWELL");
    CHECK(better_core("Prescott", avx512) == "SKYLAKEX");
    CHECK(better_core("Nehalem", avx2) == "HASWELL");
    CHECK(better_core("Haswell", avx2) == "");
    CHECK(better_core("Haswell", avx512) == "SKYLAKEX");
    CHECK(better_core("Zen", avx2) == "");
    CHECK(better_core("Zen", avx512) == "");
    CHECK(better_core("SkylakeX", avx512) == "");
    CHECK(better_core("SapphireRapids", avx512) == "");
}

// This very program has started itself again with the setting, or the user has made it.
TEST_CASE("threads that wait go to sleep", "[program]") {
    CHECK((std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")));
}

#if defined(PRESCOTT_SHIM) && defined(__x86_64__)
// The shim makes OpenBLAS say that it chose Prescott, as Debian's does on processors newer than it.
TEST_CASE("the program starts itself again with the right core, once", "[openblas]") {
    if (!__builtin_cpu_supports("avx2")) {
        WARN("skipped: this processor has no AVX2, Prescott may be right");
        return;
    }
    const TemporaryDirectory folder;
    const std::string shim = std::string("LD_PRELOAD=") + PRESCOTT_SHIM;
    const Result corrected = train(folder, "--dry-run", "env -u OPENBLAS_CORETYPE " + shim);
    CHECK(corrected.code == 0);
    CHECK_THAT(corrected.out, contains("(set by OPENBLAS_CORETYPE)"));
    const Result told = train(folder, "--dry-run", "OPENBLAS_CORETYPE=Nehalem");
    CHECK_THAT(told.out, contains("core Nehalem (set by OPENBLAS_CORETYPE)"));
    const Result plain = train(folder, "--dry-run", "env -u OPENBLAS_CORETYPE");
    CHECK(plain.out.find("core Prescott") == std::string::npos);
}
#endif

// ---- interrupted and resumed --------------------------------------------------------------------

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
    for (const char* const file : {"/step-00000400/model.safetensors", "/validation.csv"})
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
    const Result on = train(folder, wild + "--on-divergence continue --out " + folder / "on");
    CHECK(on.code == 0);
    CHECK(timeless_metrics(folder / "on").size() == 301);
}
