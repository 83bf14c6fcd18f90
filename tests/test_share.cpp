// How processes share a run: whose sequences, whose numbers.
#include "catch.h"
#include "data/data.h"
#include "helpers.h"
#include "run/share.h"

using namespace peri;

namespace {

RunConfig run_of(int batch, int accumulate, int ranks, bool reproducible = false) {
    RunConfig run;
    run.batch = batch;
    run.accumulate = accumulate;
    run.ranks = ranks;
    run.reproducible = reproducible;
    return run;
}

std::string refusal(const RunConfig& run) {
    try {
        share_of(run, 0);
    } catch (const UserError& e) {
        return e.what();
    }
    return "";
}

}  // namespace

TEST_CASE("share: adjacent sequences, as many for each", "[share]") {
    for (const auto& [batch, accumulate, ranks] :
         {std::tuple(16, 1, 4), {2, 8, 4}, {3, 4, 2}, {4, 3, 2}, {5, 1, 1}}) {
        CAPTURE(batch, accumulate, ranks);
        const RunConfig run = run_of(batch, accumulate, ranks);
        int next = 0;
        for (int r = 0; r < ranks; r++) {
            const auto [first, count] = share_of(run, r);
            CHECK(first == next);
            next = first + count;
            CHECK(run.micro() <= std::min(batch, count));
        }
        CHECK(next == batch * accumulate);
    }
    CHECK(run_of(16, 1, 4).micro() == 4);  // less than --batch, where there are fewer for each
    CHECK(run_of(2, 8, 4).micro() == 2);
}

TEST_CASE("share: what cannot be shared is said", "[share]") {
    CHECK_THAT(refusal(run_of(16, 1, 3)),
               contains("16 sequences") && contains("3 processes") && contains("a multiple of 3"));
    CHECK(refusal(run_of(2, 8, 4, true)) == "");
    CHECK(refusal(run_of(2, 6, 1, true)) == "");
    CHECK(refusal(run_of(2, 6, 3, true)) == "");
    CHECK_THAT(refusal(run_of(2, 6, 2, true)),
               contains("--reproducible") && contains("--accumulate 2"));
    CHECK_THAT(refusal(run_of(16, 1, 4, true)), contains("--reproducible"));
}

TEST_CASE("share: a process's rows are those of the whole batch", "[share][data]") {
    const TemporaryDirectory folder;
    std::string text, samples;
    for (int i = 0; i < 400; i++) text += "line " + std::to_string(i * i) + "\n";
    for (int i = 0; i < 40; i++)
        samples += R"({"prompt": "n)" + std::to_string(i) +
                   R"(", "completion": "abc"})"
                   "\n";
    folder.write("text.txt", text);
    folder.write("few.jsonl", samples);
    for (const std::string& path : {std::string(), folder / "text.txt", folder / "few.jsonl"}) {
        const auto data = open_data(path, "", 9);
        for (const int64_t step : {1, 7, 30}) {
            CAPTURE(path, step);
            const Batch whole = data->training(3, step, 6, 9);
            for (const int first : {0, 2, 4}) {
                const Batch rows = data->training_rows(3, step, 6, 9, first, 2);
                const Batch expected = slice(whole, first, 2);
                CHECK(rows.B == 2);
                CHECK(rows.tokens == expected.tokens);
                CHECK(rows.targets == expected.targets);
            }
        }
    }
}
