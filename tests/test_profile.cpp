// --profile: what kernels have to do, counted by hand; sums over calls and steps; its texts; and that a run
// with it is the same run.
#include "profile.h"

#include <chrono>
#include <set>

#include "program.h"
#include "tolerance.h"

using namespace peri;

namespace {

void spin(double seconds) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    while (std::chrono::duration<double>(Clock::now() - start).count() < seconds) continue;
}

const KernelTime& find(const std::vector<KernelTime>& kernels, const std::string& name) {
    for (const KernelTime& k : kernels)
        if (k.kernel == name) return k;
    FAIL("no kernel " << name);
    return kernels.front();
}

// calls a step by kernel, as profile.csv has them
std::map<std::string, int> calls_in(const std::string& csv) {
    std::map<std::string, int> calls;
    std::istringstream rows(csv);
    std::string row;
    std::getline(rows, row);
    CHECK(row == "kernel,calls,ms,share,gflop_per_s,gb_per_s,of_ceiling");
    while (std::getline(rows, row)) {
        const size_t comma = row.find(',');
        calls[row.substr(0, comma)] = std::stoi(row.substr(comma + 1));
    }
    return calls;
}

}  // namespace

TEST_CASE("the work of kernels, counted by hand", "[profile]") {
    CHECK(norm_forward_work<float>(3, 5, false).bytes == 4 * 3 * 5 * 2 + 4 * 3);
    CHECK(norm_backward_work<bf16>(3, 5, true).bytes == 2 * 3 * 5 * 4 + 4 * 3);
    CHECK(linear_forward_work<bf16>(3, 5, 7).flops == 3 * 7 * 5 * 2);
    CHECK(linear_forward_work<bf16>(3, 5, 7).bytes == 2 * (3 * 5 + 7 * 5 + 3 * 7));
    const Work backward = linear_backward_work<bf16>(3, 5, 7, Dx::add);
    CHECK(backward.flops == 2 * 3 * 7 * 5 * 2);
    const int dy_twice = 2 * 3 * 7, w_x = 7 * 5 + 3 * 5, dx_twice = 2 * 3 * 5, dw_twice = 2 * 7 * 5;
    CHECK(backward.bytes == 2 * (dy_twice + w_x + dx_twice) + 4 * dw_twice);
    CHECK(linear_backward_work<bf16>(3, 5, 7, Dx::overwrite).bytes == backward.bytes - 2 * 3 * 5);
    CHECK(head_loss_work<float>(3, 5, 7, true).flops ==
          3 * head_loss_work<float>(3, 5, 7, false).flops);
    CHECK(update_work<bf16>(1, 2).bytes == 2 + 4 + 3 * 2 * 4);  // w, g; master, m, v twice
    CHECK(update_work<float>(1, 1).bytes == 4 + 2 * 2 * 4);     // g; w, m twice

    const AttentionShape s = {.B = 2, .Tq = 4, .Tk = 9, .first = 3, .H = 6, .KV = 2, .D = 8};
    int pairs = 0;
    for (int b = 0; b < s.B; b++)
        for (int h = 0; h < s.H; h++)
            for (int t = 0; t < s.Tq; t++)
                for (int j = 0; j < s.Tk; j++) pairs += j <= s.first + t;
    CHECK(attention_pairs(s) == pairs);
    CHECK(attention_forward_work<float>(s).flops == 2 * 2 * s.D * pairs);
    CHECK(attention_backward_work<float>(s).flops == 5 * 2 * s.D * pairs);
}

TEST_CASE("calls are summed by kernel and tensor, over all steps but the first", "[profile]") {
    const std::string up = "layers.3.mlp.up.weight", other_up = "layers.11.mlp.up.weight";
    Profile<float> profile;
    for (int step = 0; step < 3; step++) {
        { const Timed<float> timed("outside", {1, 1}); }
        profile.begin_step();
        for (const std::string& tensor : {up, other_up}) {
            const Timed<float> timed("linear_forward", {step == 0 ? 1e6 : 10., 20}, tensor);
            if (tensor == up) spin(2e-3);
        }
        { const Timed<float> timed("clip_scale", {}); }
        profile.end_step(step == 0 ? 100 : 1);
    }
    { const Timed<float> timed("outside", {1, 1}); }
    CHECK(profile.steps() == 2);
    CHECK(profile.seconds() == 1);
    const std::vector<KernelTime> kernels = profile.kernels();
    REQUIRE(kernels.size() == 3);
    CHECK(kernels[0].kernel == "linear_forward up");
    CHECK(kernels[0].calls == 2);
    CHECK(kernels[0].work.flops == 20);
    CHECK(kernels[0].work.bytes == 40);
    CHECK(kernels[0].seconds >= 2e-3);
    CHECK(kernels[1].kernel == "clip_scale");
    CHECK(kernels[1].seconds < kernels[0].seconds);
    CHECK(kernels[2].kernel == "the rest");
    CHECK(kernels[0].seconds + kernels[1].seconds + kernels[2].seconds ==
          near(1, of_format(1e-12)));
}

TEST_CASE("one step is profiled where there is no other; calls need no end", "[profile]") {
    Profile<float> profile;
    profile.begin_step();
    for (int i = 0; i < 10000; i++) const Timed<float> timed("residual_add", {0, 12});
    profile.end_step(1);
    const KernelTime sum = find(profile.kernels(), "residual_add");
    CHECK(sum.calls == 10000);
    CHECK(sum.work.bytes == 120000);
    CHECK((sum.seconds > 0 && sum.seconds < 1));
}

TEST_CASE("a profile as text: shares of the step and of the nearer ceiling", "[profile]") {
    const std::vector<KernelTime> kernels = {{"linear_forward up", 2, 0.03, {6e9, 3e8}},
                                             {"swiglu_forward", 1, 0.0075, {0, 6e7}},
                                             {"the rest", 0, 0.0025, {}}};
    const Ceilings ceilings = {400e9, 16e9};
    CHECK(kernels[0].of_ceiling({400e9, 1e9}) == near(10, of_format(1e-12)));  // of copies
    CHECK(std::isnan(kernels[2].of_ceiling(ceilings)));
    CHECK(profile_csv(kernels, ceilings) ==
          "kernel,calls,ms,share,gflop_per_s,gb_per_s,of_ceiling\n"
          "linear_forward up,2,30,0.75,200,10,0.625\n"
          "swiglu_forward,1,7.5,0.1875,,8,0.5\n"
          "the rest,0,2.5,0.0625,,,\n");
    CHECK(profile_table(kernels, ceilings) ==
          "kernel                      calls   ms a step   share   GFLOP/s     GB/s  of ceiling\n"
          "linear_forward up               2      30.000  75.0 %     200.0     10.0        62 %\n"
          "swiglu_forward                  1       7.500  18.8 %                8.0        50 %\n"
          "the rest                                2.500   6.2 %\n"
          "a step 40.000 ms; ceilings: products 400.0 GFLOP/s, copies 16.0 GB/s\n");
}

TEST_CASE("--profile names every kernel of a step and changes no bit", "[profile][program]") {
    const TemporaryDirectory folder;
    for (const std::string precision : {"fp32", "bf16"}) {
        const std::string flags =
            quick + "--tune off --accumulate 2 --val-every 2 --precision " + precision + " --out ";
        const std::string with = folder / ("with-" + precision);
        const std::string without = folder / ("without-" + precision);
        const Result r = train(folder, flags + with + " --profile");
        REQUIRE(r.code == 0);
        CHECK_THAT(r.out, contains("kernels, means of 3 steps on cpu: "));
        CHECK_THAT(r.out, contains("\nlinear_backward gate "));
        REQUIRE(train(folder, flags + without).code == 0);
        for (const std::string file : {"model", "optimizer"}) {
            const std::string path = "/step-00000004/" + file + ".safetensors";
            CHECK(read(with + path).size() > 1000);
            CHECK(read(with + path) == read(without + path));
        }
        CHECK(timeless_metrics(with) == timeless_metrics(without));
        CHECK_FALSE(fs::exists(without + "/profile.csv"));

        // tiny has 4 layers, two norms in each of 8 sub-layers, one of the embedding, one at the end
        std::map<std::string, int> expected = {
            {"rmsnorm_forward", 36},   {"rmsnorm_backward", 36}, {"rope_forward", 16},
            {"rope_backward", 16},     {"attention_forward", 8}, {"attention_backward", 8},
            {"swiglu_forward", 8},     {"swiglu_backward", 8},   {"embedding_forward", 2},
            {"embedding_backward", 2}, {"head_loss", 2},         {"sum_of_squares", 1},
            {"adamw_update", 48},      {"clip_scale", 1},        {"the rest", 0}};
        for (const char* matrix : {"q", "k", "v", "o", "gate", "up", "down"})
            for (const char* pass : {"linear_forward ", "linear_backward "})
                expected[std::string(pass) + matrix] = 8;
        CHECK(calls_in(read(with + "/profile.csv")) == expected);
    }
}
