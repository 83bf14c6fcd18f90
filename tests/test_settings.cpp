// Settings from files and flags: which wins, what is refused, what a saved file repeats.
#include <string>
#include <vector>

#include "catch.h"
#include "helpers.h"
#include "run/flags.h"

using namespace peri;

namespace {

RunConfig parse(std::vector<std::string> words) {
    words.insert(words.begin(), "train");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    return *parse_flags(static_cast<int>(argv.size()), argv.data());
}

// what parse throws, "" if nothing
std::string refusal(const std::vector<std::string>& words) {
    try {
        parse(words);
    } catch (const UserError& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a settings file gives values, flags override them", "[settings]") {
    const TemporaryDirectory folder;
    const std::string file =
        folder.write("run.json",
                     R"({"norm": "pre", "lr": 0.003, "layernorm": true, "layers": 3, "steps": 7,
            "quiet": true})");
    const RunConfig run = parse({"--config", file, "--steps", "9", "--seed", "4"});
    CHECK(run.model.norm == "pre");
    CHECK(run.schedule.max_lr == 0.003);
    CHECK(run.model.layernorm);
    CHECK(run.model.layers == 3);
    CHECK(run.quiet);
    CHECK(run.schedule.steps == 9);
    CHECK(run.seed == 4);
    CHECK(run.batch == 16);  // its default
    CHECK_FALSE(parse({"--layernorm=false", "--config", file}).model.layernorm);
    // even where the flag repeats the default
    CHECK(parse({"--config", file, "--norm", "peri"}).model.norm == "peri");
    // the file's --layers also overrides the size that a flag chooses
    CHECK(parse({"--config", file, "--size", "tiny"}).model.layers == 3);
    CHECK(parse({"--config", file, "--size", "tiny"}).model.width == 32);
}

TEST_CASE("the settings file of a run repeats every value of it", "[settings]") {
    const TemporaryDirectory folder;
    const RunConfig run = parse({"--size",
                                 "tiny",
                                 "--norm",
                                 "post:1,peri:3",
                                 "--lr",
                                 "1.1e-3",
                                 "--heads",
                                 "2",
                                 "--kv-heads",
                                 "1",
                                 "--seq",
                                 "31",
                                 "--batch",
                                 "5",
                                 "--seed",
                                 "9000000000001",
                                 "--warmup",
                                 ".3",
                                 "--min-lr",
                                 "0.07",
                                 "--decay",
                                 "wsd",
                                 "--norm-eps",
                                 "3e-7",
                                 "--rope-base",
                                 "500000",
                                 "--init",
                                 "d:1.5",
                                 "--data",
                                 "a \"b\".txt",
                                 "--precision",
                                 "bf16",
                                 "--quiet",
                                 "--layernorm",
                                 "--clip",
                                 "0",
                                 "--beta2",
                                 "0.99",
                                 "--threads",
                                 "1",
                                 "--tune",
                                 "off",
                                 "--val-every",
                                 "0",
                                 "--qk-norm",
                                 "head",
                                 "--final-norm",
                                 "off",
                                 "--vocab",
                                 "300",
                                 "--out",
                                 folder / "first",
                                 "--steps",
                                 "12",
                                 "--z-loss",
                                 "1e-4",
                                 "--fake-quant",
                                 "int4:weights,int8",
                                 "--embedding-init",
                                 "0.3",
                                 "--weight-decay",
                                 "0.2",
                                 "--beta1",
                                 "0.8",
                                 "--momentum",
                                 "0.7",
                                 "--draw",
                                 "once"});
    const RunConfig again = parse({"--config", folder.write("saved.json", run.json)});
    CHECK(again.json == run.json);
    CHECK(again.schedule.max_lr == 1.1e-3);
    CHECK(again.schedule.warmup == 0.3);
    CHECK(again.seed == 9000000000001);
    CHECK(again.data == "a \"b\".txt");
    CHECK(again.model.norm == "post:1,peri:3");
    CHECK(again.model.norm_eps == 3e-7);
    CHECK(again.model.layernorm);
    CHECK(again.model.z_loss == 1e-4);
    CHECK(again.model.rope_base == 500000);
    CHECK((again.model.init.kind == Init::width && again.model.init.value == 1.5));
    CHECK(again.model.embedding_std == 0.3);
    CHECK(again.schedule.min_lr == 0.07);
    CHECK(again.schedule.decay == Decay::wsd);
    CHECK(again.optimizer.clip == 0);
    CHECK(again.optimizer.weight_decay == 0.2);
    CHECK(again.optimizer.beta1 == 0.8);
    CHECK(again.optimizer.beta2 == 0.99);
    CHECK(again.optimizer.momentum == 0.7);
    CHECK(again.draw == Draw::once);
    CHECK(again.model.fake_quant.weights == FewBits::int4);
    CHECK(again.model.fake_quant.hidden == FewBits::int8);
    CHECK(again.precision == Precision::bf16);
    CHECK(again.loss_scale.scale == 0);
    CHECK(again.tune == Tune::off);
    CHECK(again.val_every == 0);
    CHECK(again.model.kv_heads == 1);
    CHECK(again.out.empty());                                       // of the first run alone
    CHECK_FALSE(again.quiet);                                       //
    CHECK(parse({}).json.find("\"layers\"") == std::string::npos);  // left to --size
    CHECK_THAT(parse({}).json, contains("\"lr\": 0.004"));  // a later default changes nothing
    CHECK_THAT(parse({}).json, contains("\"layernorm\": false"));
}

// docs/runs.md and the README tell them.
TEST_CASE("what is not given", "[settings]") {
    const RunConfig run = parse({});
    CHECK(
        (run.save_every == 1000 && run.keep == 2 && run.val_every == 100 && run.val_batches == 8));
    CHECK((run.probe_every == 100 && run.sharpness_every == 0 && run.patience == 300));
    CHECK((run.schedule.steps == 200 && run.schedule.max_lr == 4e-3 && run.schedule.warmup == 0.1));
    CHECK((run.batch == 16 && run.seed == 1 && run.sampling.temperature == 0.8));
    CHECK_FALSE(run.verbose);
    CHECK(parse({"--verbose"}).verbose);
    CHECK(parse({"--state-scale", "2"}).model.state_scale == 2);
}

TEST_CASE("the loss scale: dynamic for fp16, none elsewhere, or as given", "[settings]") {
    const auto scale = [](const std::vector<std::string>& flags) {
        const LossScale s = parse(flags).loss_scale;
        return std::pair(s.scale, s.grows_after);
    };
    CHECK(scale({}) == std::pair(0.0f, 0));
    CHECK(scale({"--precision", "bf16"}) == std::pair(0.0f, 0));
    CHECK(scale({"--precision", "fp16"}) == std::pair(65536.0f, 2000));
    CHECK(scale({"--precision", "fp16", "--loss-scale", "off"}) == std::pair(0.0f, 0));
    CHECK(scale({"--loss-scale", "dynamic"}) == std::pair(65536.0f, 2000));
    CHECK(scale({"--loss-scale", "1024"}) == std::pair(1024.0f, 0));
}

TEST_CASE("a settings file that cannot serve is refused", "[settings]") {
    const TemporaryDirectory folder;
    struct Mistake {
        std::string text, cause, remedy;
    };
    const std::vector<Mistake> mistakes = {
        {R"({"colour": "red"})", "\"colour\"", "--help"},
        {R"({"--lr": 0.1})", "\"--lr\"", "without --"},
        {R"({"config": "other.json"})", "\"config\" is no setting", "--help"},
        {R"({"lr": "0.1"})", "\"lr\" is a JSON string", "a number"},
        {R"({"lr": null})", "\"lr\" is a JSON null", "a number"},
        {R"({"layernorm": 1})", "\"layernorm\" is a JSON number", "true or false"},
        {R"({"norm": 3})", "\"norm\" is a JSON number", "quotation marks"},
        {R"({"norm": ["pre"]})", "\"norm\" is a JSON array", "quotation marks"},
        {"{\"lr\": 0.1,\n \"steps\": 1.\n}", "line 2", "write it as"},
        {R"({"lr": 0.1)", "is not JSON", "write it as"},
        {"", "is not JSON", "write it as"},
        {"[1]", "no JSON object", "write it as"},
        {R"({"lr": 1e999})", "a number beyond 1e308", "a smaller one"},
        {R"({"lr": 1e9})", "--lr 1000000000.0 must be", "from 0 to 100"},
        {R"({"steps": 1.5})", "--steps 1.5", "whole number"},
        {R"({"size": "huge"})", "--size huge", "choose one of"},
        {R"({"data": ""})", "--data is empty", "leave the flag out"},
        {R"({"data": "/*"})", "leads out of", "command line"},
        // each of these would look at twelve times as many names in a directory of twelve
        {R"({"data": "*/../*/../*/../*/../*/../*/../*/../*"})", "leads out of", "command line"},
    };
    for (const Mistake& m : mistakes) {
        const std::string file = folder.write("run.json", m.text);
        const std::string message = refusal({"--config", file});
        CAPTURE(m.text, message);
        CHECK_THAT(message, contains(file));
        CHECK_THAT(message, contains(m.cause));
        CHECK_THAT(message, contains(m.remedy));
        CHECK(message.find('\n') == std::string::npos);
    }
    // what asks for the file is what the sentence names; --steps and --epochs take each other's place
    const std::string own = folder.write("config.json", "{");
    CHECK_THAT(refusal({"--resume", "auto", "--out", folder / ""}),
               contains("--resume ") && contains("is not JSON"));
    folder.write("model.safetensors", "");
    CHECK_THAT(refusal({"--evaluate", "--init-from", folder / ""}),
               contains("--init-from ") && contains("config.json is not JSON"));
    const std::string steps = folder.write("steps.json", R"({"steps": 7})");
    CHECK(parse({"--config", steps, "--epochs", "2"}).schedule.steps == 0);
    CHECK(parse({"--config", steps, "--epochs", "0"}).schedule.steps == 7);
    CHECK(parse({"--config", steps, "--epochs", "2", "--steps", "9"}).schedule.steps == 9);
    CHECK(parse({"--config", folder.write("epochs.json", R"({"epochs": 3})"), "--steps", "5"})
              .epochs == 0);
    for (const std::string job : {"--export-hf", "--import-hf"})
        CHECK_THAT(refusal({"--dry-run", job, "a", "--out", "b", "--init-from", folder / "none"}),
                   contains("leave it out"));

    CHECK_THAT(refusal({"--config", folder / "none.json"}), contains("none.json cannot be read"));
    CHECK_THAT(refusal({"--config", folder / ""}), contains("give the path"));
    // a wrong key is refused even where a flag overrides it
    const std::string file = folder.write("run.json", R"({"lr": "fast"})");
    CHECK_THAT(refusal({"--config", file, "--lr", "0.1"}), contains("\"lr\""));
}
