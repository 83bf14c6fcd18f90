// What is said to fit does, and the next larger does not; nothing is allocated.
#include <filesystem>
#include <iterator>
#include <sstream>

#include "catch.h"
#include "run/fit.h"
#include "run/flags.h"
#include "tolerance.h"

using namespace peri;

namespace {

RunConfig parse(const std::string& flags) {
    std::istringstream stream("train " + flags);
    std::vector<std::string> words{std::istream_iterator<std::string>(stream), {}};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    return *parse_flags(static_cast<int>(argv.size()), argv.data());
}

size_t bytes(const std::string& flags) { return plan<float>(parse(flags)).total(); }

std::string fits(const std::string& flags, size_t memory) {
    return what_fits<float>(parse(flags), memory);
}

}  // namespace

TEST_CASE("the largest batch that fits, of those that divide the step", "[fit]") {
    const size_t four = bytes("--batch 4"), five = bytes("--batch 5");
    CHECK(largest_batch<float>(parse("--batch 16"), four) == 4);
    CHECK(largest_batch<float>(parse("--batch 16"), four - 1) == 2);
    CHECK(largest_batch<float>(parse("--batch 12"), five) == 4);
    CHECK(largest_batch<float>(parse("--batch 13"), five) == 1);
    CHECK(largest_batch<float>(parse("--batch 2 --accumulate 6"), five) == 4);  // larger, too
    CHECK(largest_batch<float>(parse("--batch 16"), bytes("--batch 1") - 1) == 0);
    CHECK(largest_batch<float>(parse("--batch 16"), SIZE_MAX) == 16);
    // what the kernels can count, however much memory there is
    const std::string large = "--size tiny --seq 1048576 --batch 16 --accumulate 16";
    CHECK(largest_batch<float>(parse(large), SIZE_MAX) == 16);
}

TEST_CASE("what fits: a batch, else recomputing, a shorter sequence, a smaller size", "[fit]") {
    const std::string step = "--size small --seq 128 --batch 16";
    const size_t four = bytes("--batch 4");
    CHECK(fits(step, four) ==
          "--batch 4 --accumulate 4 fits (" + std::to_string(four >> 20) + " MiB)");
    CHECK_THAT(fits(step, SIZE_MAX), contains("--batch 16 fits"));
    CHECK_THAT(fits("--batch 2 --accumulate 8", SIZE_MAX), contains("--batch 16 --accumulate 1 "));
    CHECK_THAT(fits(step, bytes("--batch 1") - 1), contains("--recompute norms --batch 1 "));
    CHECK_THAT(fits(step, bytes("--batch 1 --recompute norms") - 1),
               contains("--recompute sublayers --batch "));
    const size_t no_sequence = bytes("--batch 1 --recompute sublayers") - 1;
    CHECK_THAT(fits(step + " --recompute sublayers", no_sequence), contains("--seq 64 --batch "));
    CHECK_THAT(fits(step, no_sequence), contains("--seq "));
    CHECK_THAT(fits(step, bytes("--batch 1 --seq 16")), contains("--seq 16 --batch 1 "));
    CHECK_THAT(fits(step, bytes("--size tiny --batch 2 --seq 128")),
               contains("--size tiny --seq 128 --batch 2 --accumulate 8 "));
    CHECK(fits(step, 1000) == "no --size fits: use a machine with more memory");
    CHECK(fits(step + " --ffn 385", 1000) == "choose a smaller --layers, --width or --ffn");
    // a list of twelve layers' placements fits no other size
    CHECK_THAT(fits(step + " --norm post:3,peri:9", bytes("--size tiny --batch 2")),
               contains("no --size fits"));
}

TEST_CASE("what is said to fit does when it is followed", "[fit]") {
    const std::string step = "--size 124m --seq 256 --batch 6 --accumulate 5 --norm pre ";
    for (const size_t megabytes : {50, 100, 500, 1000, 2000, 2500, 3000, 5000, 10000}) {
        const std::string said = fits(step, megabytes * 1'000'000);
        CAPTURE(megabytes, said);
        const size_t end = said.find(" fits (");
        REQUIRE(end != std::string::npos);
        const RunConfig run = parse(step + said.substr(0, end));
        CHECK(plan<float>(run).total() <= megabytes * 1'000'000);
        CHECK(run.sequences() == 30);
        CHECK_THAT(said, contains(std::to_string(plan<float>(run).total() >> 20) + " MiB)"));
    }
}

TEST_CASE("the paper's settings, and what the README says fits", "[fit]") {
    struct Paper {
        const char* file;
        double millions;  // without embeddings, Table 4
        // sequences of 8192 at once, bf16, by what is recomputed: nothing, norms, sub-layers
        int on_80[3], on_141[3];
    };
    const auto root = std::filesystem::path(DATA_DIRECTORY).parent_path();
    for (const auto& [file, millions, on_80, on_141] :
         {Paper{"configs/paper-400m.json", 400, {4, 8, 32}, {8, 16, 64}},
          Paper{"configs/paper-1.5b.json", 1500, {2, 2, 16}, {4, 4, 32}},
          Paper{"configs/paper-3.2b.json", 3200, {0, 0, 2}, {2, 2, 16}}}) {
        CAPTURE(file);
        const RunConfig run = parse("--config " + (root / file).string());
        CHECK(run.sequences() == 256);
        CHECK(run.seq == 8192);
        CHECK(run.schedule.steps == 14400);
        CHECK(run.schedule.warmup == 0.1);
        CHECK(run.schedule.decay == Decay::cosine);
        CHECK(run.optimizer.weight_decay == 0.033);
        CHECK(run.model.vocab_rows() == 100288);
        CHECK(run.precision == Precision::bf16);
        const TensorTable table = tensor_table(run.model);
        const double parameters = table.parameters() - table.embedding_parameters();
        CHECK(1e-6 * parameters == near(millions, of_format(0.05 * millions)));  // as names round
        CHECK(run.batch == on_80[static_cast<int>(run.model.recompute)]);
        for (const int r : {0, 1, 2}) {
            RunConfig other = run;
            other.model.recompute = static_cast<Recompute>(r);
            CHECK(largest_batch<bf16>(other, 80'000'000'000) == on_80[r]);
            CHECK(largest_batch<bf16>(other, 141'000'000'000) == on_141[r]);
        }
    }
}

TEST_CASE("too little memory: needed, left, and what fits", "[fit]") {
    RunConfig run = parse("--batch 16");
    run.memory = bytes("--batch 16");
    check_memory<float>(run);
    run.memory--;
    const std::string needed = std::to_string((run.memory + 1) >> 20) + " MiB";
    CHECK_THROWS_WITH(check_memory<float>(run),
                      contains("needs " + needed) && contains(" left: --batch 8 --accumulate 2 "));
    CHECK(memory_for<float>(run) == run.memory);
    run.memory = 0;
    CHECK(memory_for<float>(run) > 0);
}

TEST_CASE("evaluation and generation need less, and fit by batch and sequence alone", "[fit]") {
    const std::string step = "--batch 16 --init-from none";
    const size_t evaluation = bytes(step + " --evaluate"),
                 generation = bytes(step + " --generate 9");
    const size_t gradients = plan<float>(parse(step)).gradients;  // as many as either moment
    CHECK(evaluation + 3 * gradients < bytes("--batch 16 --recompute sublayers"));
    CHECK(generation < evaluation);
    // a layer more: its weights, and of a context of so many tokens keys and values, or nothing
    const auto activations = [&](const std::string& flags) {
        return plan<float>(parse("--batch 1 --seq 512 --init-from none " + flags)).activations;
    };
    const size_t cache = size_t(2) * 512 * 128 * sizeof(float);
    for (const std::string norm : {"peri", "simple", "post"}) {
        const std::string model = "--width 128 --heads 4 --norm " + norm;
        CHECK(activations(model + " --generate 9 --layers 7") ==
              activations(model + " --generate 9 --layers 6") + cache);
        CHECK(activations(model + " --evaluate --layers 7") ==
              activations(model + " --evaluate --layers 6"));
    }
    CHECK(plan<float>(parse(step + " --evaluate")).gradients == 0);
    CHECK_THAT(fits(step + " --evaluate", evaluation - 1), contains("--batch 8 --accumulate 2 "));
    const size_t smaller = bytes("--batch 1 --seq 64 --init-from none --evaluate");
    CHECK_THAT(fits(step + " --evaluate", smaller), contains("--seq 64 --batch 1 "));
    CHECK_THAT(fits(step + " --generate 9", generation - 1), contains("--seq 64 --batch 1 fits"));
    CHECK(fits(step + " --generate 9", 1000) == "these weights need a machine with more memory");
}

TEST_CASE("--check needs what the oracle does, too", "[fit]") {
    RunConfig run = parse("--check 3 --batch 2");
    const MemoryPlan oracle = plan_memory<double>(run.model, 2, run.seq, 2);
    // a second copy of weights and gradients, and hidden states with their gradients, perturbed
    const size_t states =
        size_t(2) * run.seq * run.model.width * sizeof(double) * (2 * run.model.layers + 2);
    run.memory =
        plan<float>(run).total() + oracle.total() + oracle.weights + oracle.gradients + states;
    CHECK_NOTHROW(check_memory<float>(run));
    run.memory--;
    CHECK_THROWS_WITH(check_memory<float>(run), contains("--check, which computes"));
}

TEST_CASE("--sharpness-every needs a model in double, too", "[fit]") {
    RunConfig run = parse("--sharpness-every 3 --batch 2 --recompute sublayers");
    const RunConfig whole = parse("--batch 1");
    const MemoryPlan twin = plan_memory<double>(whole.model, 1, run.seq, 0);
    CHECK(run.sharpness_sequences() == 1);
    run.memory = plan<float>(run).total() + twin.total() + 10 * twin.gradients;
    CHECK_NOTHROW(check_memory<float>(run));
    run.memory--;
    CHECK_THROWS_WITH(check_memory<float>(run), contains("--sharpness-every, which copies"));
    run.job = Job::evaluate;  // whose settings are the run's
    CHECK_NOTHROW(check_memory<float>(run));
    run.job = Job::train;
    run.sharpness_every = 0;
    CHECK_NOTHROW(check_memory<float>(run));
}

TEST_CASE("an allocation that fails says how much was asked for and is left", "[fit]") {
    try {
        device_allocate<float>(size_t(1) << 60);
        FAIL("2^60 bytes were found");
    } catch (const OutOfMemory& error) {
        CHECK_THAT(error.shortage, contains(std::to_string(size_t(1) << 40) + " MiB more"));
        CHECK_THAT(error.shortage, contains(" MiB are left"));
        CHECK_THAT(error.what(), contains(error.shortage + ": choose a smaller --batch"));
    }
}
