// Is my curve normal? A run's files beside the recorded bands.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include "catch.h"

#include "helpers.h"
#include "jobs/bands.h"
#include "run/flags.h"
#include "store/files.h"
#include "tolerance.h"

using namespace peri;

namespace {

std::string config_of(std::vector<const char*> words) {
    words.insert(words.begin(), "train");
    return parse_flags(int(words.size()), const_cast<char**>(words.data()))->json;
}

struct RunFiles {
    TemporaryDirectory folder;
    std::string path = folder / "run";

    explicit RunFiles(const std::string& config) {
        std::filesystem::create_directory(path);
        save_durably(path + "/config.json", config);
    }
    RunFiles() : RunFiles(config_of({})) {}

    // So many steps with these losses and gradient norms, by step.
    void metrics(int steps, const std::function<double(int)>& loss,
                 const std::function<double(int)>& norm) {
        std::ofstream file(path + "/metrics.csv");
        file << "step,tokens,loss,grad_norm,lr,ms,tokens_per_s,mfu,memory_mib\n";
        for (int step = 1; step <= steps; step++)
            file << step << ",0," << loss(step) << "," << norm(step) << ",0,1,1,1,1\n";
    }
};

// In the middle of the bands at each window's end, and there within the window.
double middle(const std::map<int, Bounds>& bands, int step, bool geometric) {
    const Bounds b = bands.lower_bound(step)->second;
    return geometric ? std::sqrt(b.low * b.high) : (b.low + b.high) / 2;
}

}  // namespace

TEST_CASE("the README's commands have bands: their settings are the recorded ones", "[bands]") {
    const RunFiles run;
    const Bands bands = bands_for(run.path);
    REQUIRE(bands.seeds == 8);
    CHECK(bands.loss.rbegin()->first == 200);
    CHECK(bands.hidden_variance.at(0).size() == 25);
    const Bounds start = bands.loss.at(10), end = bands.loss.at(200);
    CHECK(start.low > end.high);
    CHECK(end.low > 0.28);  // the floor
    // four standard deviations, 0.005 at least, to either side of the recorded mean
    CHECK(start.low == near(4.561 - 4 * 0.02811, 1e-9));
    CHECK(end.high == near(0.311 + 4 * 0.005, 1e-9));
    for (const auto& [step, b] : bands.grad_norm) CHECK((b.low > 0 && b.low < b.high));

    // what changes no result may differ, what changes one may not
    CHECK(bands_for(RunFiles(config_of({"--norm", "peri", "--seed", "77", "--threads", "2",
                                        "--probe-every", "20", "--val-every", "10"}))
                        .path)
              .known());
    for (const std::vector<const char*>& words :
         std::vector<std::vector<const char*>>{{"--lr", "8e-3"},
                                               {"--norm", "pre"},
                                               {"--steps", "100"},
                                               {"--precision", "bf16"},
                                               {"--size", "tiny"},
                                               {"--embedding-norm", "off"},
                                               {"--accumulate", "2"}})
        CHECK_FALSE(bands_for(RunFiles(config_of(words)).path).known());
    CHECK_FALSE(bands_for(RunFiles("{\"norm\": ").path).known());
    CHECK_FALSE(bands_for(RunFiles("{\"data\": 3}").path).known());
}

TEST_CASE("other data have no bands", "[bands]") {
    TemporaryDirectory folder;
    const std::string data = folder / "book.txt";
    std::ofstream(data) << "short";
    const std::string config =
        config_of({"--data", data.c_str(), "--lr", "8e-3", "--norm", "peri"});
    CHECK_FALSE(bands_for(RunFiles(config).path).known());
    std::filesystem::resize_file(data, 39952321);  // the dictionary's; a hole in the file is enough
    CHECK(bands_for(RunFiles(config).path).known());
    const std::string other = config_of({"--data", data.c_str(), "--lr", "8e-3", "--norm", "pre"});
    const Bands peri = bands_for(RunFiles(config).path), pre = bands_for(RunFiles(other).path);
    REQUIRE(pre.known());
    // the paper's point: one's hidden state grows as the other's never does
    CHECK(pre.hidden_variance.at(200).back().low > 5 * peri.hidden_variance.at(200).back().high);
}

TEST_CASE("a usual run is inside, and what leaves the bands is named with its step", "[bands]") {
    RunFiles run;
    CHECK(beside_bands(run.path).empty());  // no step yet
    const Bands bands = bands_for(run.path);
    const auto loss = [&](int step) { return middle(bands.loss, step, false); };
    const auto norm = [&](int step) { return middle(bands.grad_norm, step, true); };
    run.metrics(200, loss, norm);
    CHECK(beside_bands(run.path) == "normal up to step 200: inside the bands of 8 seeds");
    run.metrics(57, loss, norm);
    CHECK(beside_bands(run.path) == "normal up to step 50: inside the bands of 8 seeds");
    run.metrics(9, loss, norm);
    CHECK(beside_bands(run.path).empty());

    SECTION("loss") {
        const Bounds b = bands.loss.at(70);
        const double width = (b.high - b.low) / 2;
        for (const double out : {1.1 * width, -1.1 * width}) {
            run.metrics(
                200, [&](int s) { return loss(s) + (s > 60 ? out : 0); }, norm);

            CHECK(beside_bands(run.path).starts_with("unusual since step 70: loss is "));
        }
        for (const double factor : {0.9, 1.1}) {  // inside; outside, but of one window
            run.metrics(
                200, [&](int s) { return loss(s) + factor * width * (s > 60 && s <= 70); }, norm);
            CHECK(beside_bands(run.path).starts_with("normal up to step 200"));
        }
    }
    SECTION("what is no number") {
        run.metrics(
            200, [&](int s) { return s >= 111 ? NAN : loss(s); }, norm);
        CHECK(beside_bands(run.path).starts_with("unusual since step 120: loss is nan"));
    }
    SECTION("gradient norm") {
        run.metrics(200, loss, [&](int s) { return norm(s) * (s > 100 ? 20 : 1); });

        CHECK(beside_bands(run.path).starts_with("unusual since step 110: gradient norm is"));
    }
    SECTION("hidden variance, and the earliest of all is told") {
        const std::vector<Bounds>& at = bands.hidden_variance.at(100);
        const auto measured = [&](size_t outside) {
            std::ofstream probe(run.path + "/probe.csv");
            probe << "step,layer,quantity,value\n100,,spike,3\n";
            for (size_t s = 0; s < at.size(); s++)
                probe << "100," << s << ",hidden_variance,"
                      << (s < outside ? 2 * at[s].high : middle({{0, at[s]}}, 0, true)) << "\n";
            probe << "200,3,hidden_vari";
        };
        run.metrics(200, loss, norm);
        measured(12);
        CHECK(beside_bands(run.path).starts_with("normal up to step 200"));
        measured(13);
        run.metrics(
            200, [&](int s) { return loss(s) + (s > 180 ? 9 : 0); }, norm);
        CHECK(beside_bands(run.path).starts_with(
            "unusual since step 100: hidden variance behind sub-layer 12 is"));
    }
}
