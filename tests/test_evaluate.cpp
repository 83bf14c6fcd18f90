// --evaluate: every token of a file once, and the mean loss of windows computed one by one.
#include "jobs/evaluate.h"

#include "accumulate.h"
#include "catch.h"
#include "data/data.h"
#include "helpers.h"
#include "random.h"
#include "tolerance.h"

using namespace peri;

namespace {

std::vector<int> bytes_as_tokens(const std::string& text) { return {text.begin(), text.end()}; }

// The rows of all of the data, B at a time; the padding of a row must be at its end.
struct Rows {
    std::vector<std::vector<int>> tokens, targets;  // without padding
    std::vector<int> sizes;                         // of the batches
};

Rows all_rows(const Data& data, int B, int T) {
    Rows rows;
    for (int i = 0;; i++) {
        const Batch batch = data.whole(i, B, T);
        rows.sizes.push_back(batch.B);
        if (batch.B == 0) return rows;
        REQUIRE(batch.T == T);
        REQUIRE(batch.tokens.size() == size_t(batch.B) * T);
        REQUIRE(batch.targets.size() == size_t(batch.B) * T);
        for (int b = 0; b < batch.B; b++) {
            const Batch row = slice(batch, b, 1);
            const auto n = target_count(row);
            for (int t = 0; t < T; t++) CHECK((row.targets[t] >= 0) == (t < n));
            rows.tokens.push_back({row.tokens.begin(), row.tokens.begin() + n});
            rows.targets.push_back({row.targets.begin(), row.targets.begin() + n});
        }
    }
}

ModelConfig tiny(int vocab) {
    ModelConfig c;
    c.layers = 1;
    c.width = 12;
    c.heads = c.kv_heads = 2;
    c.ffn = 20;
    c.vocab = vocab;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

// The mean over the windows' targets, each window computed alone and without padding.
double mean_loss_by_hand(Model<double>& model, const std::vector<int>& text, int T) {
    double sum = 0;
    for (size_t first = 0; first + 1 < text.size(); first += T) {
        const int n = static_cast<int>(std::min(size_t(T), text.size() - 1 - first));
        const auto at = text.begin() + static_cast<long>(first);
        model.load({1, n, {at, at + n}, {at + 1, at + 1 + n}});
        model.zero_loss();
        model.forward();
        model.evaluate(1);
        sum += model.loss();
    }
    return sum / static_cast<double>(text.size() - 1);
}

}  // namespace

TEST_CASE("the whole of the data: windows in order, every token but the first a target once",
          "[evaluate]") {
    const TemporaryDirectory folder;
    const std::string first = "It was a dark and stormy", second = "night", third = "!";
    folder.write("1.txt", first);
    folder.write("2.txt", second);
    folder.write("3.txt", third);
    const std::string path = folder / "*.txt";
    const auto data = open_data(path, path, 1);
    CHECK(data->bytes());
    for (const int B : {1, 2, 4, 100})
        for (const int T : {1, 4, 5, 23, 24, 50}) {
            CAPTURE(B, T);
            const Rows rows = all_rows(*data, B, T);
            std::vector<int> tokens, targets;
            for (const auto& row : rows.tokens) tokens.insert(tokens.end(), row.begin(), row.end());
            for (const auto& row : rows.targets)
                targets.insert(targets.end(), row.begin(), row.end());
            CHECK(tokens == bytes_as_tokens("It was a dark and storm"
                                            "nigh"));
            CHECK(targets == bytes_as_tokens("t was a dark and stormy"
                                             "ight"));
            for (size_t i = 0; i + 2 < rows.sizes.size(); i++) CHECK(rows.sizes[i] == B);
        }
    CHECK(all_rows(*data, 2, 5).sizes == std::vector<int>{2, 2, 2, 0});  // 5 rows and 1
    CHECK(all_rows(*data, 4, 5).sizes == std::vector<int>{4, 2, 0});
}

TEST_CASE("the whole of a shard, and of the stories", "[evaluate]") {
    const TemporaryDirectory folder;
    const std::string path = folder.write("a.bin", shard(std::vector<uint16_t>{5, 6, 700, 8}));
    const auto data = open_data(path, path, 1);
    CHECK_FALSE(data->bytes());
    const Batch batch = data->whole(0, 3, 2);
    CHECK(batch.B == 2);
    CHECK(batch.tokens == std::vector<int>{5, 6, 700, 0});
    CHECK(batch.targets == std::vector<int>{6, 700, 8, -1});
    CHECK(open_data("", "", 4)->whole(0, 3, 2).B == 0);
}

TEST_CASE("the loss over a file is that of its windows one by one", "[evaluate]") {
    const TemporaryDirectory folder;
    std::string text;
    Rng rng(2);
    for (int i = 0; i < 103; i++) text += static_cast<char>('a' + rng.below(26));
    const std::string path = folder.write("book.txt", text);
    const auto data = open_data(path, path, 1);
    constexpr int T = 7;  // 102 targets: 14 windows and one of 4
    Model<double> model(tiny(256), 4, T);
    model.initialise(3);
    const double expected = mean_loss_by_hand(model, bytes_as_tokens(text), T);
    for (const int B : {1, 3, 4, 9}) {
        const Evaluation e = evaluate<double>(
            model, [&](int64_t i) { return data->whole(i, B, T); }, 4);
        CHECK(e.tokens == 102);
        CHECK(e.loss == about(expected, roundings(8 * 102)));  // sums in another order
    }
}
