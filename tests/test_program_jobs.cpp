// ./train --evaluate and --generate as a user meets them.
#include "jobs/generate.h"
#include "jobs/readable.h"
#include "program.h"
#include "store/checkpoint.h"
#include "tolerance.h"

using namespace peri;

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

const std::string tiny_settings = R"({"size": "tiny", "norm": "olmo2", "threads": 1, "steps": 9})";

// How many bytes a text stands for: those that are no UTF-8 are written \xNN.
size_t unescaped(const std::string& text) {
    size_t escapes = 0;
    for (size_t at = 0; (at = text.find("\\x", at)) != text.npos; at += 4) escapes++;
    return text.size() - 3 * escapes;
}

TEST_CASE("--generate writes the prompt and its continuation, and nothing else", "[program]") {
    const TemporaryDirectory folder;
    const std::string weights = " --init-from " + save_tiny(folder, 256, tiny_settings);
    const std::string flags = weights + " --generate 90 --prompt 'Once upon'";  // --seq is 64
    const Result r = train(folder, flags);
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK(r.err == "");
    CHECK(r.out.substr(0, 9) == "Once upon");
    CHECK(unescaped(r.out) == 9 + 90 + 1);
    CHECK(r.out.back() == '\n');
    CHECK(train(folder, flags).out == r.out);
    CHECK(train(folder, flags + " --seed 2").out != r.out);
    CHECK(train(folder, flags + " --temperature 0.1").out != r.out);
    const std::string likeliest = train(folder, flags + " --temperature 0").out;
    CHECK(likeliest != r.out);
    CHECK(train(folder, flags + " --temperature 0 --seed 2").out == likeliest);
    CHECK(train(folder, flags + " --top-k 1").out == likeliest);
    CHECK(train(folder, flags + " --top-p 0").out == likeliest);
    CHECK(unescaped(train(folder, weights + " --generate 5").out) == 6);
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
    const int first = generate<float>(model, {0, 'O', 'n'}, 1, {0}, Rng(1)).back();
    CHECK(train(folder, flags + "--prompt On --stop-at " + std::to_string(first)).out == "On\n");
}

// Their settings name no data, and do not say that there was none.
TEST_CASE("--generate: weights of unknown texts", "[program]") {
    const TemporaryDirectory folder;
    const std::string imported = R"({"size": "tiny", "norm": "olmo2", "threads": 1})";
    const std::string flags = "--init-from " + save_tiny(folder, 256, imported) +
                              " --temperature 0 --generate 9 --prompt On";
    Model<float> model = random_tiny(256);
    const std::vector<int> text = generate<float>(model, {'O', 'n'}, 9, {0}, Rng(1));
    CHECK(train(folder, flags).out == readable(text, 256) + "\n");
    const Result bad = train(folder, flags + " --stop-at 256");
    CHECK(bad.code == 2);
    CHECK_THAT(bad.err, contains("--stop-at 256 is none of the model's tokens, 0 to 255"));
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
    CHECK(number_after(r.out, "\nperplexity ") == about(std::exp(loss), 1e-4));
    CHECK(number_after(r.out, "\nbits ") == about(loss / std::log(2), 1e-5));
    CHECK_THAT(r.out, contains(" a byte\n"));
    // how much is computed at once changes nothing but rounding
    const Result other = train(folder, weights + " --evaluate --batch 3 --data " + book);
    CHECK(number_after(other.out, "\nloss ") == about(loss, 1e-6));

    const std::string tokens = folder.write("a.bin", shard(std::vector<uint16_t>(100, 255)));
    const Result shards = train(folder, weights + " --evaluate --data " + tokens);
    CHECK_THAT(shards.out, contains(" a token (how many bytes"));
    CHECK(number_after(shards.out, "\ntokens ") == 99);
    const std::string large = folder.write("b.bin", shard(std::vector<uint16_t>(100, 256)));
    const Result refused = train(folder, weights + " --evaluate --data " + large);
    CHECK(refused.code == 2);
    CHECK_THAT(refused.err, contains("holds token 256"));
}

TEST_CASE("--evaluate on samples: their completions and ends of text", "[program]") {
    const TemporaryDirectory folder;
    const std::string weights = " --init-from " + save_tiny(folder, 256, tiny_settings);
    const std::string samples =
        folder.write("samples.jsonl", R"({"prompt": "one ", "completion": "two"})"
                                      "\n"
                                      R"({"prompt": "three ", "completion": "fours"})"
                                      "\n");
    const Result r = train(folder, weights + " --evaluate --data " + samples);
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    CHECK(number_after(r.out, "\ntokens ") == 4 + 6);
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
    CHECK(final_loss(trained) ==
          near(number_after(r.out, "\nloss "), of_format(0.5e-4) + 1e-5));  // printed to 1e-4
}

// A run that rounds says so in its settings, which its weights are evaluated with unless a flag says otherwise.
TEST_CASE("--fake-quant: in training, and of a finished model", "[program]") {
    const TemporaryDirectory folder;
    const std::string weights = " --init-from " + save_tiny(folder, 256, tiny_settings);
    const std::string size = " --batch 2 --val-batches 3";
    const auto evaluated = [&](const std::string& flags) {
        const Result r = train(folder, flags + size + " --evaluate");
        CAPTURE(flags, r.err);
        REQUIRE(r.code == 0);
        return number_after(r.out, "\nloss ");
    };
    const double plain = evaluated(weights), rounded = evaluated(weights + " --fake-quant int4");
    CHECK(plain == evaluated(weights + " --fake-quant none"));
    CHECK(plain != rounded);
    CHECK(rounded != evaluated(weights + " --fake-quant int4:weights"));
    const Result trained =
        train(folder, weights + size + " --config " + folder / "step-00000000/config.json" +
                          " --fake-quant int4 --lr 0 --steps 1 --out " + folder / "run");
    REQUIRE(trained.code == 0);
    CHECK(trained.out.find("rounded to int4") != std::string::npos);
    CHECK(final_loss(trained) == near(rounded, of_format(0.5e-4) + 1e-5));
    CHECK(evaluated(" --init-from " + folder / "run") == rounded);
    CHECK(evaluated(" --init-from " + folder / "run" + " --fake-quant none") == plain);
    for (const char* const job : {" --check 1", " --export-hf hf"}) {
        const Result refused = train(folder, weights + " --fake-quant int4" + job);
        CHECK(refused.code == 2);
        CHECK_THAT(refused.err, contains("--fake-quant none"));
    }
}

TEST_CASE("--init-from a run's directory reads its newest checkpoint", "[program]") {
    const TemporaryDirectory folder;
    const std::string checkpoint = save_tiny(folder, 256, tiny_settings);
    // the settings are the checkpoint's, not those that the run was last started with
    folder.write("config.json", R"({"size": "tiny", "norm": "pre", "threads": 1, "seed": 9})");
    const std::string flags = " --generate 40 --init-from ";
    const Result r = train(folder, flags + folder / "");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 0);
    CHECK(r.out == train(folder, flags + checkpoint).out);
    const std::string run = folder / "run";
    REQUIRE(
        train(folder, quick + "--norm olmo2 --init-from " + folder / "" + " --out " + run).code ==
        0);
    CHECK_THAT(read(run + "/config.json"), contains("step-00000000\""));  // which one it was
}

TEST_CASE("mistakes with --evaluate and --generate", "[program]") {
    const TemporaryDirectory folder;
    const std::string weights = " --init-from " + save_tiny(folder, 256, tiny_settings);
    fs::create_directory(folder / "damaged");
    folder.write("damaged/model.safetensors", "");
    folder.write("damaged/config.json", "no JSON");
    fs::create_directory(folder / "started");
    folder.write("started/config.json", "{}");
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
             {"--stop-at 4" + weights, "--stop-at", "give --generate N"},
             {"--generate 3 --norm pre" + weights, "which this model has not", "the flags"},
             {"--generate 3 --init-from " + folder / "none", "none", "cannot be"},
             {"--generate 3 --init-from " + folder / "damaged", "config.json", "JSON"},
             {"--generate 3 --init-from " + folder / "started", "no whole checkpoint", "name "},
             {"--evaluate --memory 0.001" + weights, "needs", "--batch 2 --accumulate 8 fits"},
             {"--generate 3 --seq 2048 --memory 0.002" + weights, "needs", "--batch 1 fits"},
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
