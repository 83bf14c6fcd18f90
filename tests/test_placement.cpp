// The table of placements, lists of them, and the schedule of the learning rate.
#include "catch.h"
#include "config.h"
#include "placement.h"
#include "schedule.h"
#include "tolerance.h"

using namespace peri;

namespace {

// "ABC" with a dot where there is no norm, e.g. "AB." for Peri-LN
std::string positions(const SubLayer& s) {
    return std::string(s.input_norm ? "A" : ".") + (s.output_norm ? "B" : ".") +
           (s.main_norm ? "C" : ".");
}

std::vector<SubLayer> resolved(const std::string& norm, int layers) {
    return sublayers(parse_placements(norm, layers));
}

ModelConfig config(const std::string& norm, const std::string& qk = "auto",
                   Choice embedding = Choice::automatic, Choice final = Choice::automatic) {
    ModelConfig c = model_of(find_size("small"));
    c.norm = norm;
    resolve(c, qk, embedding, final);
    return c;
}

}  // namespace

TEST_CASE("the paper's equations", "[placement]") {
    const auto equation_of = [](const char* norm) {
        return equation(parse_placements(norm, 1).front());
    };
    CHECK(equation_of("post") == "y = Norm(x + Module(x))");        // Eq. 1
    CHECK(equation_of("pre") == "y = x + Module(Norm(x))");         // Eq. 2
    CHECK(equation_of("peri") == "y = x + Norm(Module(Norm(x)))");  // Eq. 3
    CHECK(equation_of("output") == "y = x + Norm(Module(x))");
    CHECK(equation_of("input-main") == "y = Norm(x + Module(Norm(x)))");
    CHECK(equation_of("olmo2") == "y = x + Norm(QkNormedModule(x))");
    CHECK(equation_of("keel") == "y = Norm(S x + Module(Norm(x)))");
    CHECK(equation_of("simple") == "y = x + Norm(NormedModule(x))");
    CHECK(equation_of("deep") == "y = Norm((2L)^1/4 x + Module(x))");
}

TEST_CASE("the norms before the first layer and after the last", "[placement]") {
    for (const char* norm : {"pre", "peri", "output", "olmo2", "simple", "mix"})
        CHECK(config(norm).final_norm);
    for (const char* norm : {"post", "input-main", "keel", "deep"}) CHECK(!config(norm).final_norm);
    for (const char* norm :
         {"post", "pre", "output", "input-main", "olmo2", "keel", "simple", "mix", "deep"})
        CHECK(!config(norm).embedding_norm);
    CHECK(config("peri").embedding_norm);
    CHECK(!config("peri", "auto", Choice::off, Choice::off).embedding_norm);
    CHECK(!config("peri", "auto", Choice::off, Choice::off).final_norm);
    CHECK(config("post", "auto", Choice::on, Choice::on).embedding_norm);
    CHECK(config("post", "auto", Choice::on, Choice::on).final_norm);
    CHECK(config("peri:3,post:9").embedding_norm);
    CHECK(!config("peri:3,post:9").final_norm);
}

TEST_CASE("mix is Post-LN in the first quarter of the layers, rounded up", "[placement]") {
    for (const auto& [layers, post] : {std::pair{1, 1}, {4, 1}, {5, 2}, {12, 3}, {24, 6}}) {
        const std::vector<SubLayer> list = resolved("mix", layers);
        REQUIRE(static_cast<int>(list.size()) == 2 * layers);
        for (const SubLayer& s : list) CHECK(positions(s) == (s.layer < post ? "..C" : "A.."));
    }
}

TEST_CASE("KEEL's exception: the first layer", "[placement]") {
    const std::vector<SubLayer> list = resolved("keel", 5);
    CHECK(positions(list[0]) == "A..");  // first attention: no C
    CHECK(positions(list[1]) == "A.C");  // first MLP keeps it
    CHECK(list[0].alpha == 1);
    CHECK(list[1].alpha == 1);
    for (size_t s = 2; s < list.size(); s++) {
        CHECK(positions(list[s]) == "A.C");
        CHECK(list[s].alpha == 10);  // S = 2L
    }
    CHECK(resolved("post:2,keel:3", 5)[4].alpha == 10);
}

TEST_CASE("attention and MLP by turns; DeepNorm's alpha; QK-norms", "[placement]") {
    const std::vector<SubLayer> deep = resolved("deep", 8);
    for (size_t s = 0; s < deep.size(); s++) {
        CHECK(deep[s].attention == (s % 2 == 0));
        CHECK(deep[s].layer == static_cast<int>(s / 2));
        CHECK(deep[s].alpha == 2);  // 16^(1/4)
    }
    CHECK(resolved("olmo2", 1)[0].qk == QkNorm::full);
    CHECK(resolved("simple", 1)[1].inner);
    CHECK(config("olmo2", "none").placement[3].qk == QkNorm::none);
    CHECK(config("peri", "head").placement[3].qk == QkNorm::head);
}

TEST_CASE("lists of placements", "[placement]") {
    const std::vector<SubLayer> list = resolved("post:3,peri:9", 12);
    for (const SubLayer& s : list) CHECK(positions(s) == (s.layer < 3 ? "..C" : "AB."));
    for (const char* wrong : {"post:3", "post:3,peri:10", "post:0,peri:12", "post:-3,peri:15",
                              ":12", "post:3,,peri:9", "post:3 ,peri:9x", "post:9999999,peri:3"}) {
        CHECK_THROWS_AS(parse_placements(wrong, 12), UserError);
    }
}

TEST_CASE("the learning rate's schedule", "[schedule]") {
    Schedule s{.max_lr = 2, .steps = 100, .warmup = 0.1};
    CHECK(learning_rate(s, 1) == about(0.2));
    CHECK(learning_rate(s, 10) == 2);
    CHECK(learning_rate(s, 55) == about(1));  // half way down the cosine
    CHECK(learning_rate(s, 100) == near(0, roundings(8)));
    s.min_lr = 0.1;
    CHECK(learning_rate(s, 100) == about(0.2));
    s.min_lr = 0;
    s.decay = Decay::linear;
    CHECK(learning_rate(s, 55) == about(1));
    CHECK(learning_rate(s, 100) == near(0, roundings(8)));
    s.decay = Decay::constant;
    CHECK(learning_rate(s, 100) == 2);
    s.decay = Decay::wsd;
    CHECK(learning_rate(s, 80) == 2);
    CHECK(learning_rate(s, 90) == about(1));
    CHECK(learning_rate(s, 100) == near(0, roundings(8)));
    s.decay = Decay::exponential;
    s.min_lr = 0.01;
    CHECK(learning_rate(s, 10) == 2);
    CHECK(learning_rate(s, 55) == about(0.2));  // half way: the geometric mean
    CHECK(learning_rate(s, 100) == about(0.02));
    s.min_lr = 100;
    CHECK(learning_rate(s, 55) == about(20));
    s.warmup = 0;
    s.decay = Decay::wsd;
    CHECK(learning_rate(s, 1) == 2);
    s.warmup = 0.9;  // which leaves less than a fifth
    s.min_lr = 0;
    CHECK(learning_rate(s, 90) == 2);
    CHECK(learning_rate(s, 91) == about(1.8));
    CHECK(learning_rate(s, 100) == near(0, roundings(8)));
}
