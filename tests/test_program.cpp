// ./train as a user meets it: what it prints, what it leaves, and how it answers mistakes.
#include <cstring>

#include "cpu/libraries.h"
#include "device.h"
#include "program.h"
#include "schedule.h"
#include "tolerance.h"

using namespace peri;

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
    CHECK_THAT(r.out, contains("cpu: "));
    CHECK_THAT(r.out, contains("y = x + Module(Norm(x))"));
    CHECK_THAT(r.out, contains("step 4/4  loss "));
    CHECK_THAT(r.out, contains("\nfinal train loss "));
    CHECK_THAT(r.out, contains("\nfinal val loss "));
    const double loss = final_loss(r);
    CHECK((loss > 3 && loss < 6));  // about ln 256 = 5.5 after four steps

    std::istringstream metrics(read(folder / "run/metrics.csv"));
    std::string line;
    std::getline(metrics, line);
    CHECK(line ==
          "step,tokens,loss,grad_norm,lr,ms,tokens_per_s,mfu,memory_mib,loss_scale,skipped_steps");
    int rows = 0;
    while (std::getline(metrics, line)) rows++;
    CHECK(rows == 4);
    const std::string run = folder / "run";
    const auto at = [&](const char* name) { return metric(run, name); };
    const double tokens = at("tokens").at(0);
    for (size_t i = 0; i < 4; i++) {
        CHECK(at("tokens_per_s").at(i) ==
              near(tokens / (1e-3 * at("ms").at(i)), 2e-3 * at("tokens_per_s").at(i)));
        CHECK(at("lr").at(i) == near(learning_rate({.steps = 4}, int64_t(i) + 1), 1e-10));
        CHECK(at("memory_mib").at(i) > 0);
    }
    const std::string profile = read(folder / "run/hidden_variance.csv");
    CHECK_THAT(profile, contains("sublayer,start,end\n0,"));
    // as the chart has them: start, now
    const std::string row = r.out.substr(r.out.find("  0 embedding ") + 14);
    const double start = number_after(profile, "\n0,"),
                 end = number_after(profile.substr(profile.find("\n0,") + 3), ",");
    std::istringstream numbers(row);
    double shown_start = 0, shown_end = 0;
    numbers >> shown_start >> shown_end;
    CHECK(shown_start == near(start, 6e-3 * start));
    CHECK(shown_end == near(end, 6e-3 * end));
    CHECK(start != end);
}

// The rows of bytes that do not come again have gradients of 0, and Adam's mean of them falls by a tenth a step: after
// 900 steps it is below 1.2e-38 and would stay there, as nine tenths of the smallest numbers round to themselves.
TEST_CASE("bytes that do not come again leave no numbers that are slow to compute with",
          "[program]") {
    if (!flushes_subnormals) {
        WARN("skipped: this processor cannot take numbers below 1.2e-38 for 0");
        return;
    }
    const TemporaryDirectory folder;
    std::string text;
    for (int i = 0; i < 1600; i++) {
        text += "line " + std::to_string(i) + " of a small book\n";
        if (i % 60 == 0) text += char('A' + i / 60);  // once each
    }
    const Result r =
        train(folder,
              "--layers 1 --width 8 --heads 1 --ffn 8 --seq 8 --batch 1 --steps 1500 --draw once "
              "--threads 1 --tune off --quiet --data " +
                  folder.write("book.txt", text) + " --out " + folder / "run");
    REQUIRE(r.code == 0);
    const std::string file = read(folder / "run/step-00001500/optimizer.safetensors");
    uint64_t header = 0;
    REQUIRE(file.size() > sizeof header);
    std::memcpy(&header, file.data(), sizeof header);
    int unseen = 0, subnormal = 0;
    for (size_t at = sizeof header + header; at + sizeof(float) <= file.size();
         at += sizeof(float)) {
        float moment;
        std::memcpy(&moment, &file[at], sizeof moment);
        unseen += moment > 1.2e-38f && moment < 1e-20f;  // of squares, which fall by a twentieth
        subnormal += std::fpclassify(moment) == FP_SUBNORMAL;
    }
    CHECK(unseen >= 8);
    CHECK(subnormal == 0);
}

// With two micro-batches a step, so that gradients would add to what a probe leaves.
TEST_CASE("measuring changes no bit of the training", "[program]") {
    const TemporaryDirectory folder;
    for (const std::string precision : {"fp32", "bf16"}) {
        const std::string flags =
            quick + "--tune off --accumulate 2 --precision " + precision + " --out ";
        const std::string often = folder / ("often-" + precision);
        const std::string never = folder / ("never-" + precision);
        REQUIRE(train(folder, flags + often + " --probe-every 1 --sharpness-every 2").code == 0);
        REQUIRE(train(folder, flags + never + " --probe-every 0").code == 0);
        for (const std::string file : {"model", "optimizer"}) {
            const std::string path = "/step-00000004/" + file + ".safetensors";
            CHECK(read(often + path).size() > 1000);
            CHECK(read(often + path) == read(never + path));
        }
        CHECK(timeless_metrics(often) == timeless_metrics(never));
        CHECK_FALSE(fs::exists(never + "/probe.csv"));
        CHECK_THAT(read(often + "/probe.csv"), contains("step,layer,quantity,value\n0,0,") &&
                                                   contains("\n1,") && contains("\n4,8,") &&
                                                   contains("\n2,,sharpness_adam,"));
    }
    REQUIRE(train(folder, quick + "--probe-every 3 --out " + folder / "third").code == 0);
    const std::string third = read(folder / "third/probe.csv");
    CHECK_THAT(third, contains("\n0,,growth_") && contains("\n3,,growth_") &&
                          contains("\n4,,growth_") && !contains("\n1,") && !contains("\n2,"));
}

TEST_CASE("a run on the stories prints its floor", "[program]") {
    const TemporaryDirectory folder;
    const Result r = train(folder, quick + "--out " + folder / "run");
    CAPTURE(r.out, r.err);
    REQUIRE(r.code == 0);
    const double floor = number_after(r.out, "floor ");
    const double excess = final_loss(r) / floor - 1, rounding = 6e-5 / floor * (2 + excess);
    CHECK(number_after(r.out, "validation loss is ") == near(100 * excess, 0.06 + 100 * rounding));
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
    // printed to 1e-4, twice; the sums' order differs by far less
    CHECK(final_loss(parts) == near(final_loss(whole), of_format(1e-4) + 1e-5));
    const std::vector<std::string> rows = timeless_metrics(folder / "parts");
    const std::vector<std::string> expected = timeless_metrics(folder / "whole");
    REQUIRE(rows.size() == 5);
    for (size_t i = 1; i < rows.size(); i++) {
        double step, tokens, loss, norm, step2, tokens2, loss2, norm2;
        REQUIRE(std::sscanf(rows[i].c_str(), "%lf,%lf,%lf,%lf", &step, &tokens, &loss, &norm) == 4);
        REQUIRE(std::sscanf(expected[i].c_str(), "%lf,%lf,%lf,%lf", &step2, &tokens2, &loss2,
                            &norm2) == 4);
        CHECK(tokens == i * 6 * 64.0);
        CHECK(loss == about(loss2, 1e-4));
        CHECK(norm == about(norm2, 1e-3));
    }
}

// The first step's loss is of the same weights, and leaves z-loss out; its gradient does not.
TEST_CASE("--z-loss changes training, not what is printed as loss", "[program]") {
    const TemporaryDirectory folder;
    const auto metrics = [&](const std::string& run, const std::string& flags) {
        const Result r = train(folder, quick + flags + " --tune off --out " + folder / run);
        CAPTURE(r.out, r.err);
        REQUIRE(r.code == 0);
        CHECK((r.out.find(", z-loss 0.5,") != std::string::npos) == (flags != ""));
        const std::vector<std::string> rows = timeless_metrics(folder / run);
        REQUIRE(rows.size() == 5);
        return rows;
    };
    const auto column = [](const std::string& row, int i) {
        std::istringstream words(row);
        std::string word;
        for (; i >= 0; i--) std::getline(words, word, ',');
        return word;
    };
    const auto plain = metrics("plain", ""), with = metrics("with", "--z-loss 0.5");
    constexpr int loss = 2, grad_norm = 3;
    CHECK(column(with[1], loss) == column(plain[1], loss));
    CHECK(column(with[1], grad_norm) != column(plain[1], grad_norm));
    CHECK(column(with[4], loss) != column(plain[4], loss));
    CHECK_THAT(read(folder / "with/config.json"), contains("\"z-loss\": 0.5"));
}

TEST_CASE("--precision bf16 and fp16 train", "[program]") {
    const TemporaryDirectory folder;
    for (const std::string precision : {"bf16", "fp16"}) {
        const std::string flags = quick + "--steps 40 --precision " + precision;
        const Result r = train(folder, flags + " --out " + folder / precision);
        CAPTURE(r.out, r.err);
        REQUIRE(r.code == 0);
        CHECK(r.err == "");
        CHECK_THAT(r.out, contains(precision + " with fp32 master weights"));
        CHECK(final_loss(r) < std::log(256));
    }
}

TEST_CASE("what passes 65,504 in fp16's forward ends the run, and says where", "[program]") {
    const TemporaryDirectory folder;
    const std::string flags = quick + "--norm pre --lr 20 --clip 0 --steps 60 --val-every 0 --out ";
    CHECK(train(folder, flags + folder / "wide" + " --on-divergence continue").code == 0);
    const Result r = train(folder, flags + folder / "half" + " --precision fp16");
    CAPTURE(r.out, r.err);
    CHECK(r.code == 3);
    CHECK_THAT(r.err, contains("beyond 65,504, fp16's largest, is behind "));
    CHECK_THAT(r.err, contains(" of layer "));
}

TEST_CASE("--check runs beside the oracle in place of training", "[program]") {
    const TemporaryDirectory folder;
    for (const char* precision : {"fp32", "bf16", "fp16"}) {
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
    const Result rate = train(folder, "--dry-run --decay constant --min-lr 0.5");
    CHECK_THAT(rate.out, contains("learning rate 0.004, constant, after 10 % warmup"));
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
        {"--z-loss -1e-4", "--z-loss -1e-4", "must be a number"},
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
        {"--precision fp8", "--precision fp8", "choose one of fp32, tf32, bf16, fp16"},
        {"--decay exponential", "--min-lr 0", "above 0"},
        {"--loss-scale 1000", "--loss-scale 1000", "a power of two"},
        {"--loss-scale 0", "--loss-scale 0", "a power of two"},
        {"--loss-scale much", "--loss-scale much", "auto, dynamic, off"},
        {"--precision tf32", "NVIDIA", "use fp32 or bf16"},
        {"--attention library", "cuDNN", "use auto or tiles"},
        {"--attention cudnn", "--attention cudnn", "choose one of auto, tiles, library"},
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
    for (const char* text : {"--norm", "(default: peri)", "--lr", "(default: 0.004)", "--out"})
        CHECK_THAT(r.out, contains(text));
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

#if defined(__linux__) && defined(__GLIBC__)
// This very program has started itself again with the setting, or the user has made it.
TEST_CASE("threads that wait go to sleep", "[program]") {
    CHECK((std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")));
}
#endif

#if defined(PRESCOTT_SHIM) && defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__)
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

// Chosen by measuring, kept in the user's cache (tuning.h): which library computes which product.
TEST_CASE("by default a seed repeats to the bit", "[program]") {
    const TemporaryDirectory folder;
    const auto run = [&](const std::string& name, const std::string& flags = "") {
        const Result r = train(folder, quick + flags + " --out " + folder / name);
        CAPTURE(r.out, r.err);
        CHECK(r.code == 0);
        return r.err;
    };
    const auto chosen =
        [&](const std::string& name) {  // with how many times as fast: a measurement
            return read(folder / (name + "/products.txt"));
        };
    CHECK(run("one") == "");
    const fs::path cache = folder / "cache/peri.cpp";
    if (chosen("one") == "") {
        WARN("skipped: there is but one library for products here");
        return;
    }
    REQUIRE(std::distance(fs::directory_iterator(cache), fs::directory_iterator()) == 1);
    const fs::path file = fs::directory_iterator(cache)->path();
    CHECK(run("two") == "");
    CHECK(chosen("two") == chosen("one"));
    CHECK(timeless_metrics(folder / "two") == timeless_metrics(folder / "one"));
    CHECK(read(folder / "two/step-00000004/model.safetensors") ==
          read(folder / "one/step-00000004/model.safetensors"));

    SECTION("another shape is measured and kept beside") {
        CHECK(run("wider", "--width 64") == "");
        CHECK(run("three") == "");
        CHECK(chosen("three").size() > chosen("one").size());
        CHECK(timeless_metrics(folder / "three") == timeless_metrics(folder / "one"));
    }
    SECTION("--tune again measures anew") {
        CHECK(run("three", "--tune again") == "");
        CHECK(chosen("three") != chosen("one"));
        CHECK(run("four") == "");
        CHECK(chosen("four") == chosen("three"));
    }
    SECTION("a damaged cache is named and measured anew") {
        const std::string whole = read(file);
        for (const size_t at : {size_t(3), whole.size() / 2, whole.size() - 3}) {
            std::string damaged = whole;
            damaged[at] ^= 1;
            std::ofstream(file) << damaged;
            CHECK_THAT(run("at" + std::to_string(at)),
                       contains(" is damaged: products are measured"));
            CHECK(run("after" + std::to_string(at)) == "");
        }
        std::ofstream(file) << "";
        CHECK_THAT(run("empty"), contains(" is damaged"));
    }
#ifdef _OPENMP  // else there is one thread, and no other number to make another machine of
    SECTION("so is another machine's") {
        const Result r = train(folder, quick + "--threads 2 --out " + folder / "threads");
        CHECK(r.err == "");  // a file of its own
        fs::path other;
        for (const auto& entry : fs::directory_iterator(cache))
            if (entry.path() != file) other = entry.path();
        REQUIRE(other != "");
        fs::copy_file(other, file, fs::copy_options::overwrite_existing);
        CHECK_THAT(run("foreign"), contains(" is another machine's: products are measured anew"));
    }
#endif
    SECTION("where nothing can be kept, the run goes on") {
        fs::remove_all(cache);
        std::ofstream(cache.string()) << "a file in its place";
        CHECK_THAT(run("three"), contains("the next run measures products anew"));
    }
}
