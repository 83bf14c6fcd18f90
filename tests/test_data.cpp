// Batches as a function of (seed, step), the held-out part, shards read back, damaged files
// refused.
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.h"
#include "check.h"
#include "data/data.h"
#include "data/stories.h"
#include "helpers.h"
#include "tolerance.h"

using namespace peri;

namespace {

std::string with_header(std::string shard, int index, int32_t value) {
    std::memcpy(shard.data() + 4 * index, &value, 4);
    return shard;
}

// first, first + 1, ...
template <class Token>
std::vector<Token> counting(int count, int first) {
    std::vector<Token> tokens(count);
    for (int i = 0; i < count; ++i) tokens[i] = static_cast<Token>(first + i);
    return tokens;
}

// A text in which three bytes tell their place: i in base 200.
std::string counting_text(int count) {
    std::string text;
    for (int i = 0; int(text.size()) < count; ++i) {
        text += {char(i / 40000), char(i / 200 % 200), char(i % 200), char(255)};
    }
    return text.substr(0, count);
}

std::string refusal(const std::string& path, const std::string& val_path, int T) {
    try {
        open_data(path, val_path, T);
    } catch (const UserError& error) {
        return error.what();
    }
    return "";
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

bool same(const Batch& a, const Batch& b) {
    return a.B == b.B && a.T == b.T && a.tokens == b.tokens && a.targets == b.targets;
}

std::vector<int> row(const Batch& batch, int r) {
    std::vector<int> tokens(batch.tokens.begin() + r * batch.T,
                            batch.tokens.begin() + (r + 1) * batch.T);
    tokens.push_back(batch.targets[(r + 1) * batch.T - 1]);
    return tokens;
}

bool targets_follow(const Batch& batch) {
    for (int r = 0; r < batch.B; ++r) {
        for (int t = 0; t + 1 < batch.T; ++t) {
            const int i = r * batch.T + t;
            if (batch.targets[i] != batch.tokens[i + 1]) return false;
        }
    }
    return int(batch.tokens.size()) == batch.B * batch.T &&
           batch.targets.size() == batch.tokens.size();
}

// What must hold of every source.
void check_source(const Data& data, int T) {
    const Batch batch = data.training(1, 7, 4, T);
    CHECK(targets_follow(batch));
    CHECK(targets_follow(data.validation(3, 4, T)));
    CHECK(same(batch, data.training(1, 7, 4, T)));
    CHECK_FALSE(same(batch, data.training(2, 7, 4, T)));
    CHECK_FALSE(same(batch, data.training(1, 8, 4, T)));
    CHECK(row(batch, 0) != row(batch, 1));
    CHECK(row(batch, 1) == row(data.training(1, 7, 2, T), 1));  // a row knows nothing of B
    CHECK(same(data.validation(0, 4, T), data.validation(0, 4, T)));
    CHECK_FALSE(same(data.validation(0, 4, T), data.validation(1, 4, T)));
    for (const int token : batch.tokens) {
        if (!(token >= 0 && token < data.vocab())) FAIL("token " << token);
    }
    CHECK_FALSE(data.describe().empty());
}

}  // namespace

TEST_CASE("stories: batches", "[data]") {
    const auto data = open_data("", "", 128);
    check_source(*data, 128);
    CHECK(data->vocab() == 256);
    CHECK_FALSE(same(data->training(0, 0, 4, 128), data->validation(0, 4, 128)));
    const auto longer = row(data->training(1, 7, 4, 200), 2);
    CHECK(std::equal(longer.begin(), longer.begin() + 129,
                     row(data->training(1, 7, 4, 128), 2).begin()));
}

TEST_CASE("stories: a row is end of text, a story, end of text, ...", "[data]") {
    const Batch batch = open_data("", "", 400)->training(5, 0, 3, 400);
    for (int r = 0; r < batch.B; ++r) {
        const std::vector<int> tokens = row(batch, r);
        CHECK(tokens[0] == 0);
        std::vector<std::string> found;
        for (const int token : tokens) {
            if (token == 0) {
                found.emplace_back();
            } else {
                found.back() += static_cast<char>(token);
            }
        }
        REQUIRE(found.size() >= 3);
        for (size_t i = 0; i + 1 < found.size(); ++i) {  // the last one may be cut
            CHECK(found[i].size() > 40);
            CHECK(has(found[i], " met "));
            CHECK(found[i].back() == '.');
        }
    }
}

TEST_CASE("stories: the floor is the mean cost of the validation targets, recounted", "[data]") {
    constexpr int batches = 3, B = 5, T = 100;
    const auto data = open_data("", "", T);
    // The very stories again, told from the validation rows' own random numbers.
    double nats = 0;
    for (int i = 0; i < batches; ++i) {
        const Batch batch = data->validation(i, B, T);
        for (int r = 0; r < B; ++r) {
            const std::vector<int> tokens = row(batch, r);
            Rng rng(0, i, r, 2);
            for (size_t at = 1; at < tokens.size(); ++at) {
                const Grammar::Story story = stories().tell(rng);
                for (size_t k = 0; k < story.text.size() && at < tokens.size(); ++k, ++at) {
                    REQUIRE(tokens[at] == story.text[k]);
                    nats += story.nats[k];
                }
                if (at < tokens.size()) REQUIRE(tokens[at] == 0);
            }
        }
    }
    CHECK(data->floor(batches, B, T) ==
          about(nats / (batches * B * T), roundings(batches * B * T)));
    CHECK(data->floor(2, B, T) != data->floor(1, B, T));
    CHECK(data->floor(50, 16, 128) > 0.2);
    CHECK(data->floor(50, 16, 128) < 0.45);
}

TEST_CASE("--draw once: each window once a pass, in an order of the seed's", "[data]") {
    const TemporaryDirectory directory;
    constexpr int T = 10;
    for (const int size : {13, 22, 1'000, 10'000}) {
        const std::string text = counting_text(size);
        const std::string path = directory.write(std::to_string(size) + ".txt", text);
        const auto data = open_data(path, path, T, Draw::once);
        const int n = (size - 1) / T;
        std::set<std::vector<int>> windows;
        std::vector<std::vector<int>> orders[2];
        for (int pass = 0; pass < 2; pass++) {
            for (int i = 0; i < n; i++) {
                // rows of batches of 4, counted through the run
                const int64_t number = int64_t(pass) * n + i;
                const Batch one =
                    data->training_rows(7, 1 + number / 4, 4, T, static_cast<int>(number % 4), 1);
                orders[pass].push_back(one.tokens);
                windows.insert(one.tokens);
                const auto* first = reinterpret_cast<const unsigned char*>(text.data());
                REQUIRE(std::search(first, first + size, one.tokens.begin(), one.tokens.end()) -
                            first <
                        size);
            }
            CHECK(static_cast<int>(windows.size()) == n);
        }
        if (n < 50) continue;
        CHECK(orders[0] != orders[1]);
        CHECK(data->training(7, 3, 4, T).tokens != data->training(8, 3, 4, T).tokens);
        CHECK(same(data->training(7, 3, 4, T), data->training(7, 3, 4, T)));
        // in no order: a sorted pass has all neighbours behind each other, a shuffled one hardly any
        int neighbours = 0;
        for (int i = 0; i + 1 < n; i++) {
            const std::string next(orders[0][i + 1].begin(), orders[0][i + 1].end());
            const std::string here(orders[0][i].begin(), orders[0][i].end());
            neighbours += text.find(next) == text.find(here) + T;
        }
        CHECK(neighbours < n / 10);
    }
    CHECK_THROWS_AS(open_data("", "", T, Draw::once), UserError);
}

TEST_CASE("text: windows of the file, none of them in both parts", "[data]") {
    const TemporaryDirectory directory;
    constexpr int size = 40'000, T = 50;
    const std::string text = counting_text(size);
    const auto data = open_data(directory.write("a.txt", text), "", T);
    CHECK(data->vocab() == 256);
    CHECK(std::isnan(data->floor(1, 1, T)));
    check_source(*data, T);

    // Every window of the text is there once, so its place can be looked up.
    const auto place = [&](const std::vector<int>& tokens) {
        std::string bytes;
        for (const int token : tokens) bytes += static_cast<char>(token);
        const size_t at = text.find(bytes);
        REQUIRE(at != std::string::npos);
        REQUIRE(text.find(bytes, at + 1) == std::string::npos);
        return static_cast<int>(at);
    };
    constexpr int split = size - size / 20;
    int lowest = size, highest = 0;
    for (int step = 0; step < 200; ++step) {
        const Batch batch = data->training(1, step, 8, T);
        for (int r = 0; r < 8; ++r) {
            const int at = place(row(batch, r));
            lowest = std::min(lowest, at);
            highest = std::max(highest, at);
        }
    }
    CHECK(lowest < size / 100);               // 1,600 draws reach either end
    CHECK(highest > split - T - size / 100);  //
    CHECK(highest + T + 1 <= split);          // and not the held-out part

    // (size / 20 - 1) / T = 39 windows: each once before any again, the first few far apart.
    std::set<int> places;
    for (int i = 0; i < 39; ++i) places.insert(place(row(data->validation(i, 1, T), 0)));
    CHECK(places.size() == 39);
    CHECK(*places.begin() == split);
    CHECK(*places.rbegin() == split + 38 * T);
    CHECK(same(data->validation(0, 1, T), data->validation(39, 1, T)));
    const int first = place(row(data->validation(0, 1, T), 0));
    CHECK(std::abs(place(row(data->validation(1, 1, T), 0)) - first) > 10 * T);
    CHECK(row(data->validation(1, 4, T), 2) == row(data->validation(6, 1, T), 0));
}

TEST_CASE("text: --val-data leaves the whole file to train on", "[data]") {
    const TemporaryDirectory directory;
    const std::string train = directory.write("a.txt", std::string(400, 'a') + "z");
    const auto data = open_data(train, directory.write("b.txt", std::string(300, 'b')), 20);
    bool last_byte = false;
    for (int step = 0; step < 200; ++step) {
        const Batch batch = data->training(1, step, 16, 20);
        for (const int target : batch.targets) {
            if (!(target == 'a' || target == 'z')) FAIL("target " << target);
            last_byte |= target == 'z';
        }
    }
    CHECK(last_byte);
    CHECK(row(data->validation(5, 1, 20), 0) == std::vector<int>(21, 'b'));
}

TEST_CASE("text: byte 0, bytes above 127 and the shortest possible file", "[data]") {
    const TemporaryDirectory directory;
    const std::string path = directory.write("a.txt", std::string("\0\xff", 2));
    const Batch batch = open_data(path, path, 1)->training(1, 0, 2, 1);
    CHECK(batch.tokens == std::vector<int>{0, 0});
    CHECK(batch.targets == std::vector<int>{255, 255});
}

TEST_CASE("text: a glob takes several files, and a file's own name comes first", "[data]") {
    const TemporaryDirectory directory;
    directory.write("a1.txt", std::string(1000, 'x'));
    directory.write("a2.txt", std::string(3000, 'y'));
    const auto data = open_data(directory / "a*.txt", "", 10);
    int of_second = 0;
    for (int step = 0; step < 1000; ++step) {
        const std::vector<int> tokens = row(data->training(3, step, 1, 10), 0);
        CHECK(tokens == std::vector<int>(11, tokens[0]));  // no window spans two files
        of_second += tokens[0] == 'y';
    }
    // in proportion to their windows: 940 and 2840 of 3780
    CHECK(of_second == near(1000 * 2840.0 / 3780, 5 * std::sqrt(1000 * 0.25 * 0.75)));

    const std::string star = directory.write("[a]*.txt", std::string(1000, 's'));
    CHECK(open_data(star, "", 10)->training(1, 0, 1, 10).tokens[0] == 's');
}

TEST_CASE("text: a file whose part is one token short of a window is passed over", "[data]") {
    const TemporaryDirectory directory;
    constexpr int T = 10;
    directory.write("a1.txt", std::string(20 * T, 'x'));  // T held out
    directory.write("a2.txt", std::string(400, 'y'));     // 2 T held out: one window
    const auto data = open_data(directory / "a*.txt", "", T);
    for (int i = 0; i < 3; ++i) {
        CHECK(row(data->validation(i, 1, T), 0) == std::vector<int>(T + 1, 'y'));
    }
}

TEMPLATE_TEST_CASE("shards: read back token for token", "[data]", uint16_t, uint32_t) {
    const TemporaryDirectory directory;
    constexpr int T = 9;
    const int base = sizeof(TestType) == 2 ? 60'000 : 100'000;  // beyond int16, beyond uint16
    directory.write("s_0.bin", shard(counting<TestType>(1000, base)));
    directory.write("s_1.bin", shard(counting<TestType>(3000, base + 2000)));
    const auto data = open_data(directory / "s_*.bin", "", T);
    check_source(*data, T);
    CHECK(data->vocab() == base + 5000);
    CHECK(std::isnan(data->floor(1, 1, T)));

    // Both shards count upwards, so a window is told by its first token; held out are the last 50
    // and the last 150.
    int of_second = 0;
    for (int step = 0; step < 500; ++step) {
        const Batch batch = data->training(1, step, 4, T);
        for (int r = 0; r < 4; ++r) {
            const std::vector<int> tokens = row(batch, r);
            const int first = tokens[0] - base;
            CHECK(tokens == counting<int>(T + 1, tokens[0]));
            CHECK(((first >= 0 && first + T < 950) || (first >= 2000 && first + T < 4850)));
            of_second += first >= 2000;
        }
    }
    CHECK(of_second == near(2000 * 2841.0 / 3782, 5 * std::sqrt(2000 * 0.25 * 0.75)));

    std::set<int> firsts;
    for (int i = 0; i < 21; ++i) {  // 5 + 16 windows
        const int first = row(data->validation(i, 1, T), 0)[0] - base;
        CHECK(((first >= 950 && first + T < 1000) || (first >= 4850 && first + T < 5000)));
        firsts.insert(first);
    }
    CHECK(firsts.size() == 21);
}

TEST_CASE("shards: the largest token of the validation shards counts too", "[data]") {
    const TemporaryDirectory directory;
    const std::string train = directory.write("a.bin", shard(counting<uint16_t>(100, 0)));
    const std::string val = directory.write("b.bin", shard(counting<uint32_t>(100, 70'000)));
    CHECK(open_data(train, "", 4)->vocab() == 100);
    CHECK(open_data(train, val, 4)->vocab() == 70'100);
}

TEST_CASE("shards: every damage is refused with the file's name", "[data]") {
    const TemporaryDirectory directory;
    const std::string good = shard(counting<uint16_t>(200, 0));
    const std::string good32 = shard(counting<uint32_t>(200, 0));
    const std::map<std::string, std::string> damaged{
        {"no_header.bin", good.substr(0, 1023)},
        {"three_bytes.bin", "abc"},
        {"magic.bin", with_header(good, 0, 20240521)},
        {"version.bin", with_header(good, 1, 2)},
        {"version32.bin", with_header(good32, 1, 1)},
        {"kind.bin", with_header(with_header(good, 0, 20240801), 1, 7)},
        {"negative.bin", with_header(good, 2, -1)},
        {"zero.bin", with_header(good, 2, 0).substr(0, 1024)},
        {"count.bin", with_header(good, 2, 199)},
        {"cut.bin", good.substr(0, good.size() - 1)},
        {"cut32.bin", good32.substr(0, good32.size() - 4)},
        {"longer.bin", good + "x"},
        {"token.bin", shard(std::vector<uint32_t>(200, 0xffffffff))},
        {"empty.bin", ""},
        {"short.bin", shard(counting<uint16_t>(8, 0))},
    };
    const std::string fine = directory.write("fine.bin", good);
    CHECK(refusal(fine, "", 8).empty());
    for (const auto& [name, bytes] : damaged) {
        const std::string path = directory.write(name, bytes);
        INFO(name);
        CHECK(has(refusal(path, "", 8), path));
        CHECK(has(refusal(path, "", 8), "--data"));
        CHECK(has(refusal(fine, path, 8), path));
        CHECK(has(refusal(fine, path, 8), "--val-data"));
    }
    // a damaged file among good ones is named itself, not the glob
    CHECK(has(refusal(directory / "[ft]*n*.bin", "", 8), "token.bin"));
}

TEST_CASE("files that cannot serve are refused with name and remedy", "[data]") {
    const TemporaryDirectory directory;
    const std::string missing = directory / "missing.txt";
    CHECK(has(refusal(missing, "", 8), "'" + missing + "' does not exist"));
    CHECK(has(refusal(directory / "*.bin", "", 8), "matches no file"));
    CHECK(has(refusal(directory / "", "", 8), "is a directory"));
    CHECK(has(refusal("/dev/null", "", 8), "not a regular file"));
    CHECK(has(refusal(directory.write("empty.txt", ""), "", 8), "is empty"));

    const std::string text = directory.write("t.txt", std::string(400, 't'));
    const std::string bin = directory.write("t.bin", shard(counting<uint16_t>(400, 0)));
    CHECK(has(refusal(directory / "t.*", "", 8), "one kind"));
    CHECK(has(refusal(text, bin, 8), "one kind"));
    CHECK(has(refusal(bin, text, 8), "one kind"));
    CHECK(has(refusal("", text, 8), "--data"));
    for (const int T : {0, -1}) CHECK(has(refusal("", "", T), "--seq"));
    CHECK(has(refusal(text, "", 0), "--seq"));
}

// While a run goes on, another program works on its data.
TEST_CASE("a file that is cut short or overwritten while in use is named", "[data]") {
    const TemporaryDirectory directory;
    const auto complaint = [](const Data& data) -> std::string {
        try {
            data.training(1, 1, 64, 9);
            data.validation(0, 64, 9);
            data.whole(0, 64, 9);
        } catch (const UserError& error) {
            return error.what();
        }
        return "";
    };
    const std::string text = directory.write("t.txt", counting_text(4000));
    const std::string bin = directory.write("t.bin", shard(counting<uint32_t>(4000, 0)));
    for (const std::string& path : {text, bin}) {
        CAPTURE(path);
        const std::string good = [&] {
            std::ifstream file(path, std::ios::binary);
            return std::string(std::istreambuf_iterator<char>(file), {});
        }();
        const auto data = open_data(path, "", 9);
        const Batch before = data->training(1, 1, 64, 9);
        CHECK(complaint(*data) == "");
        std::filesystem::resize_file(path, 1500);
        CHECK(has(complaint(*data), "--data '" + path + "' was changed while it was in use"));
        CHECK(has(complaint(*data), "it is shorter"));
        CHECK(has(complaint(*data), "--resume auto"));
        directory.write(std::filesystem::path(path).filename(), good);
        CHECK(same(data->training(1, 1, 64, 9), before));
        // deleted, or replaced by another: this run still reads what it has opened
        std::filesystem::remove(path);
        directory.write(std::filesystem::path(path).filename(), "something else");
        CHECK(same(data->training(1, 1, 64, 9), before));
    }
    // tokens beyond the vocabulary of the model that was made for them
    const std::string other = directory.write("u.bin", shard(counting<uint32_t>(4000, 0)));
    const auto data = open_data(other, "", 9);
    directory.write("u.bin", shard(std::vector<uint32_t>(4000, 4000)));
    CHECK(has(complaint(*data), "it holds token 4000"));
    directory.write("u.bin", shard(std::vector<uint32_t>(4000, 0xffffffff)));
    CHECK(has(complaint(*data), "it holds token 4294967295"));
    directory.write("u.bin", shard(std::vector<uint32_t>(4000, 3999)));
    CHECK(complaint(*data) == "");
}

TEST_CASE("parts too short for a sequence are refused, and by one byte only", "[data]") {
    const TemporaryDirectory directory;
    const std::string text = directory.write("t.txt", std::string(400, 't'));  // 380 + 20
    CHECK(refusal(text, "", 19).empty());
    CHECK((has(refusal(text, "", 20), "last 5 %") && has(refusal(text, "", 20), "--val-data")));
    const std::string val = directory.write("v.txt", std::string(500, 'v'));
    CHECK(refusal(text, val, 399).empty());
    CHECK((has(refusal(text, val, 400), text) && has(refusal(text, val, 400), "train")));
    CHECK(has(refusal(val, text, 400), "--val-data '" + text));
    CHECK(has(refusal(text, "", 2147483647), "2147483648"));
}
