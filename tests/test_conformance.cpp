// The conformance suite's program on a suite made up for the purpose: which cases it runs, what it
// prints of them and how it ends.
#include <sstream>

#include "catch.h"
#include "conformance/suite.h"
#include "helpers.h"

using namespace peri;

namespace {

int runs = 0;

std::string odd_is_wrong(const Case& c) {
    runs++;
    return c.size("n") % 2 ? "entry 0: got 1\nentry 1: got 2\n" : "";
}

std::string always_right(const Case&) {
    runs++;
    return "";
}

// How long it takes: here, whether it is asked.
std::string timed(const Case& c) {
    runs++;
    return c.timed ? "a while, for n of " + c.word("n") : "";
}

const std::vector<Family> suite = {{"parity",
                                    {{"even", odd_is_wrong, {"n=2 in=yes", "n=4 in=no"}},
                                     {"odd", odd_is_wrong, {"n=3"}, {"bf16"}},
                                     {"rare",
                                      odd_is_wrong,
                                      {"n=5", "n=6"},
                                      {"float"},
                                      [](const Case& c) { return c.size("n") != 5; }}}},
                                   {"other", {{"plain", always_right, {""}}}},
                                   {"speed",
                                    {{.name = "fast",
                                      .errors = timed,
                                      .cases = {"n=1"},
                                      .types = {"float"},
                                      .in_model = [](const Case& m) -> std::vector<std::string> {
                                          const std::string C = m.word("C"), F = m.word("F");
                                          return {"n=" + C, "n=" + F};
                                      }}}}};

struct Result {
    int code;
    std::string out;
};

Result run(const std::vector<std::string>& arguments) {
    std::ostringstream out;
    runs = 0;
    const int code = run_suite(suite, "conformance", arguments, out);
    return {code, out.str()};
}

}  // namespace

TEST_CASE("conformance: a case is printed as its line, with what came of it", "[conformance]") {
    const Result all = run({});
    CHECK(all.code == 1);
    CHECK_THAT(all.out, contains("even n=2 in=yes type=float seed=1 ok\n"));
    CHECK_THAT(all.out, contains("even n=4 in=no type=bf16 seed=1 ok\n"));
    CHECK_THAT(all.out, contains("plain type=bf16 seed=1 ok\n"));
    CHECK_THAT(all.out, contains("odd n=3 type=bf16 seed=1 FAIL\n    entry 0: got 1\n"
                                 "    entry 1: got 2\n"
                                 "    again: conformance 'odd n=3 type=bf16 seed=1'\n"));
    CHECK_THAT(all.out, contains("\n11 ok, 1 failed, 1 not supported (cpu)\n"));
    CHECK(runs == 12);
}

TEST_CASE("conformance: what the backend does not support is not run and not passed",
          "[conformance]") {
    const Result rare = run({"rare"});
    CHECK(rare.code == 0);
    CHECK_THAT(rare.out, contains("rare n=5 type=float seed=1 not supported\n"));
    CHECK_THAT(rare.out, contains("rare n=6 type=float seed=1 ok\n"));
    CHECK_THAT(rare.out, contains("\n1 ok, 0 failed, 1 not supported (cpu)\n"));
    CHECK(runs == 1);
}

TEST_CASE("conformance: a family, a check or one line", "[conformance]") {
    CHECK_THAT(run({"other"}).out, contains("\n3 ok, 0 failed"));
    CHECK_THAT(run({"even", "plain"}).out, contains("\n9 ok, 0 failed"));
    CHECK_THAT(run({"parity"}).out, contains("\n7 ok, 1 failed, 1 not supported"));
    CHECK(run({"odd n=3 type=bf16 seed=1"}).code == 1);
    CHECK(runs == 1);
    // a size that is not listed, a seed of one's own
    CHECK(run({"odd n=8 type=bf16 seed=77"}).code == 0);
    CHECK_THAT(run({"--seeds", "3", "even"}).out, contains("\n18 ok"));
}

TEST_CASE("conformance: --quiet prints what is wrong, --list runs nothing", "[conformance]") {
    const Result quiet = run({"--quiet"});
    CHECK(quiet.out.find("even n=2") == std::string::npos);
    CHECK_THAT(quiet.out, contains("odd n=3 type=bf16 seed=1 FAIL\n    entry 0"));
    CHECK_THAT(quiet.out, contains("rare n=5 type=float seed=1 not supported\n"));
    CHECK(run({"--list", "odd", "rare"}).out ==
          "odd n=3 type=bf16 seed=1\nrare n=5 type=float seed=1  (not supported)\nrare n=6 "
          "type=float seed=1\n");
    CHECK(runs == 0);
}

TEST_CASE("conformance: --time runs the cases that a model's step is made of", "[conformance]") {
    const Result timed = run({"--time", "C=8 F=24"});
    CHECK(timed.code == 0);
    CHECK_THAT(timed.out, contains("fast n=8 type=float seed=1 a while, for n of 8\n") &&
                              contains("fast n=24 type=float seed=1 a while, for n of 24\n"));
    CHECK(runs == 2);
    CHECK_THROWS_AS(run({"--time", "C=8"}), UserError);
    CHECK_THROWS_AS(run({"--time"}), UserError);
}

TEST_CASE("conformance: --kernels says of each family whose kernels ran", "[conformance]") {
    const TemporaryDirectory folder;
    const std::string file = folder.write(
        "kernels", "device src/cpu/device.cpp\nother a/b.cu, a/c.cu\nparity p.cpp\nspeed s.cu\n");
    CHECK_THAT(run({"--kernels", file}).out,
               contains("device: src/cpu/device.cpp\n"
                        "other: a/b.cu, a/c.cu, 3 ok, 0 failed, 0 not supported\n"
                        "parity: p.cpp, 7 ok, 1 failed, 1 not supported\n"
                        "speed: s.cu, 1 ok, 0 failed, 0 not supported\n"));
    CHECK(run({"--kernels", file, "plain"}).out.find("parity: ") == std::string::npos);
    const std::string less = folder.write("less", "device src/cpu/device.cpp\nother a.cu\n");
    CHECK_THROWS_WITH(run({"--kernels", less}), contains("less has no line for parity"));
}

TEST_CASE("conformance: only the backend that was asked for is tested", "[conformance]") {
    CHECK(run({"--backend", "cpu", "plain"}).code == 0);
    CHECK_THROWS_WITH(run({"--backend", "cuda", "plain"}),
                      contains("asks for cuda, but this program tests cpu"));
    CHECK(runs == 0);
}

TEST_CASE("conformance: what cannot be run is said in a sentence", "[conformance]") {
    const auto complaint = [](const std::string& argument) -> std::string {
        try {
            run({argument});
        } catch (const UserError& error) {
            return error.what();
        }
        return "none";
    };
    CHECK_THAT(complaint("strange"), contains("no family and no check 'strange'"));
    CHECK_THAT(complaint("strange n=1"), contains("'strange n=1' names no check"));
    CHECK_THAT(complaint("odd n=3"), contains("'odd n=3 type=bf16 seed=1', in this order"));
    CHECK_THAT(complaint("odd m=3 type=bf16 seed=1"), contains("in this order"));
    CHECK_THAT(complaint("odd n=3 type=float seed=1"), contains("type one of bf16"));
    CHECK_THAT(complaint("odd n=x type=bf16 seed=1"), contains("n a whole number of at least 1"));
    CHECK_THAT(complaint("odd n=0 type=bf16 seed=1"), contains("n a whole number of at least 1"));
    CHECK_THAT(complaint("odd n=3 type=bf16 seed=-1"), contains("seed a whole number"));
    CHECK_THAT(complaint("odd n=3 bf16 seed=1"), contains("name=value, not bf16"));
    CHECK_THAT(complaint("--strange"), contains("no flag --strange"));
    CHECK_THAT(complaint("--seeds"), contains("--seeds needs a value"));
}
