// Samples to fine-tune on: which bytes carry loss, what an epoch is, which lines are refused.
#include "data/samples.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>

#include "accumulate.h"
#include "catch.h"
#include "check.h"
#include "compare.h"
#include "helpers.h"
#include "run/flags.h"

using namespace peri;

namespace {

std::string line(const std::string& prompt, const std::string& completion) {
    return "{\"prompt\": \"" + prompt + "\", \"completion\": \"" + completion + "\"}\n";
}

// Samples whose prompt, one byte from '#' on, tells which they are; fewer than 57, as '\\' is next.
std::string numbered(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += line(std::string(1, char('#' + i)), "xy");
    return text;
}

std::string refusal(const std::string& path, const std::string& val_path, int T) {
    try {
        open_data(path, val_path, T);
    } catch (const UserError& error) {
        return error.what();
    }
    return "";
}

// Which samples, by their first byte, are the rows of a batch.
std::vector<int> rows_of(const Batch& batch) {
    std::vector<int> rows;
    for (int r = 0; r < batch.B; ++r) rows.push_back(batch.tokens[r * batch.T] - '#');
    return rows;
}

bool same(const Batch& a, const Batch& b) {
    return a.B == b.B && a.T == b.T && a.tokens == b.tokens && a.targets == b.targets;
}

ModelConfig small_model() {
    ModelConfig c;
    c.layers = 1;
    c.width = 12;
    c.heads = 2;
    c.kv_heads = 1;
    c.ffn = 19;
    c.vocab = 256;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

}  // namespace

TEST_CASE("loss is on the completion and its end of text alone", "[samples]") {
    const TemporaryDirectory directory;
    const std::string path = directory.write(
        "a.jsonl", line("ab", "cd") + line("", "x") + "\n \r\n" + line("abc", "defgh") +
                       R"({"id": 7, "completion": "\u00e9\n", "prompt": "q"})" + "\r\n" +
                       line("abcdef", "g") + line("abcdefg", "h"));
    constexpr int T = 6;
    const auto data = open_data(path, path, T);
    const Batch batch = data->validation(0, 5, T);
    CHECK(batch.tokens == std::vector<int>{'a', 'b',  'c',  'd',  0,   0,    //
                                           0,   'x',  0,    0,    0,   0,    //
                                           'a', 'b',  'c',  'd',  'e', 'f',  // cut
                                           'q', 0xc3, 0xa9, '\n', 0,   0,    //
                                           'a', 'b',  'c',  'd',  'e', 'f'});
    CHECK(batch.targets == std::vector<int>{-1,   'c',  'd',  0,   -1,  -1,   //
                                            'x',  0,    -1,   -1,  -1,  -1,   //
                                            -1,   -1,   'd',  'e', 'f', 'g',  //
                                            0xc3, 0xa9, '\n', 0,   -1,  -1,   //
                                            -1,   -1,   -1,   -1,  -1,  'g'});
    CHECK(target_count(batch) == 14);
    CHECK(data->epoch() == 5);  // the prompt of 7 leaves no room
    CHECK(data->vocab() == 256);
    CHECK(std::isnan(data->floor(1, 1, T)));
    CHECK_THAT(data->describe(), contains("5 samples to train on, 5 held out"));
    CHECK_THAT(data->describe(), contains("4 cut to --seq 6"));  // in both parts
    CHECK_THAT(data->describe(), contains("2 left out"));
    CHECK(open_data(path, path, 20)->describe().find(" cut ") == std::string::npos);
    CHECK(open_data(path, path, 20)->epoch() == 6);
}

// -log softmax of the head's logits at the targeted places, written down one by one.
TEST_CASE("the masked loss equals a hand computation", "[samples]") {
    const TemporaryDirectory directory;
    const std::string path = directory.write("a.jsonl", line("ab", "cd") + line("", "x"));
    constexpr int T = 6;
    const Batch batch = open_data(path, path, T)->validation(0, 2, T);
    Model<double> model(small_model(), 2, T);
    model.initialise(3);
    model.load(batch);
    model.forward();
    const int C = model.config().width;
    const std::vector<double> x = model.hidden_state(model.sublayer_count() + 1);
    const std::vector<double> head = model.values(model.table().head);
    double sum = 0;
    const std::vector<std::pair<int, int>> targeted = {{1, 'c'},
                                                       {2, 'd'},
                                                       {3, 0},  // of row 0
                                                       {T, 'x'},
                                                       {T + 1, 0}};  // of row 1
    for (const auto& [row, target] : targeted) {
        const double* const hidden = &x[row * C];
        const auto logit = [&](int v) {
            return std::inner_product(hidden, hidden + C, &head[v * C], 0.0);
        };
        double exponentials = 0;
        for (int v = 0; v < 256; ++v) exponentials += std::exp(logit(v));
        sum += std::log(exponentials) - logit(target);
    }
    for (const int micro : {1, 2}) {  // their targets are 3 and 2: no mean of means
        model.zero_loss();
        forward_backward(model, batch, micro);
        CHECK(model.loss() == about(sum / 5, roundings(2 * 256)));  // sums of 256 terms
    }
    model.zero_loss();
    forward_evaluate(model, batch, 2);
    CHECK(model.loss() == about(sum, roundings(2 * 256)));
}

TEST_CASE("k batches of B samples make the step of one batch of k B", "[samples]") {
    const TemporaryDirectory directory;
    std::string text;
    for (int i = 0; i < 9; ++i) text += line(std::string(i % 4, 'p'), std::string(1 + i, 'c'));
    const std::string path = directory.write("a.jsonl", text);
    constexpr int B = 6, T = 7;
    const Batch batch = open_data(path, path, T)->training(1, 2, B, T);
    CHECK(target_count(slice(batch, 0, 2)) != target_count(slice(batch, 2, 2)));
    Model<double> model(small_model(), B, T);
    model.initialise(3);
    const auto step = [&](int micro) {
        model.zero_loss();
        model.zero_gradients();
        forward_backward(model, batch, micro);
        std::vector<double> numbers = {model.loss()};
        for (size_t id = 0; id < model.table().rows.size(); ++id) {
            const std::vector<double> g = model.gradient_values(static_cast<int>(id));
            numbers.insert(numbers.end(), g.begin(), g.end());
        }
        return numbers;
    };
    const std::vector<double> whole = step(B);
    for (const int micro : {1, 2, 3, 4}) {  // 4 leaves a smaller last one
        const std::vector<double> parts = step(micro);
        double worst = 0;
        for (size_t i = 0; i < whole.size(); ++i) {
            const double error = std::abs(parts[i] - whole[i]);
            worst = error <= worst ? worst : error;  // NaN is the worst
        }
        CAPTURE(micro);
        CHECK(worst ==
              near(0, roundings(900) * largest(whole)));  // sums of 42 terms in another order
    }
}

TEST_CASE("an epoch is each sample once, in an order of its own", "[samples]") {
    const TemporaryDirectory directory;
    constexpr int n = 7, T = 4;
    const std::string path = directory.write("a.jsonl", numbered(n));
    const auto data = open_data(path, path, T);
    CHECK(data->epoch() == n);
    const auto run = [&](uint64_t seed, int steps, int B) {
        std::vector<int> rows;
        for (int step = 1; step <= steps; ++step) {
            const std::vector<int> some = rows_of(data->training(seed, step, B, T));
            rows.insert(rows.end(), some.begin(), some.end());
        }
        return rows;
    };
    const std::vector<int> rows = run(1, n, 3);  // three epochs, whose ends are inside of batches
    std::set<std::vector<int>> orders;
    for (int epoch = 0; epoch < 3; ++epoch) {
        std::vector<int> order(rows.begin() + epoch * n, rows.begin() + (epoch + 1) * n);
        orders.insert(order);
        std::ranges::sort(order);
        for (int i = 0; i < n; ++i) CHECK(order[i] == i);
    }
    CHECK(orders.size() == 3);
    CHECK(run(2, n, 3) != rows);
    CHECK(run(1, 3, n) == rows);  // however many make a step
    CHECK(run(1, 1, 3 * n) == rows);

    std::map<int, int> first;  // no sample is likelier than another to come first
    for (int seed = 0; seed < 7000; ++seed) first[data->training(seed, 1, 1, T).tokens[0]]++;
    CHECK(first.size() == n);
    for (const auto& [sample, times] : first) CHECK(times == near(1000, 5 * std::sqrt(860)));
}

TEST_CASE("a batch of samples is a function of seed and step", "[samples]") {
    const TemporaryDirectory directory;
    const std::string path = directory.write("a.jsonl", numbered(20));
    const Batch late = open_data(path, "", 4)->training(5, 1000, 3, 4);
    const auto data = open_data(path, "", 4);
    for (int step = 1; step < 1000; ++step) data->training(5, step, 3, 4);
    CHECK(same(data->training(5, 1000, 3, 4), late));
    CHECK_FALSE(same(data->training(5, 1001, 3, 4), late));
}

TEST_CASE("the last 5 % of the samples are held out, at least one", "[samples]") {
    const TemporaryDirectory directory;
    const auto held_out = [&](int count) {
        const auto data = open_data(directory.write("a.jsonl", numbered(count)), "", 4);
        std::set<int> trained;
        for (const int row : rows_of(data->training(1, 1, count, 4))) trained.insert(row);
        CHECK(static_cast<int>(trained.size()) == data->epoch());
        CHECK(*trained.rbegin() == data->epoch() - 1);
        const std::vector<int> rows = rows_of(data->validation(0, count, 4));
        CHECK(rows[0] == data->epoch());
        CHECK(*std::ranges::max_element(rows) == count - 1);
        return count - data->epoch();
    };
    CHECK(held_out(2) == 1);
    CHECK(held_out(39) == 1);
    CHECK(held_out(40) == 2);
    const std::string three = directory.write("three.jsonl", numbered(3));
    const auto data = open_data(three, three, 4);
    CHECK(rows_of(data->validation(0, 2, 4)) == std::vector<int>{0, 1});
    CHECK(rows_of(data->validation(1, 2, 4)) == std::vector<int>{2, 0});
}

TEST_CASE("lines that are no samples are refused by number", "[samples]") {
    const TemporaryDirectory directory;
    struct Mistake {
        std::string text, cause, remedy;
    };
    const std::vector<Mistake> mistakes = {
        {"prompt,completion", "is not JSON", "write it as {\"prompt\""},
        {R"({"prompt": "a", "completion": "b")", "is not JSON", "write it as"},
        {R"({"prompt": "a", "completion": "b"} {})", "is not JSON", "write it as"},
        {R"({"prompt": "a", "completion": 1e999})", "is not JSON", "write it as"},
        {"{\"prompt\": \"\xff\", \"completion\": \"b\"}", "is not JSON in UTF-8", "write it as"},
        {R"(["a", "b"])", "is a JSON array", "write it as"},
        {R"({"completion": "b"})", "has no \"prompt\"", "write it as"},
        {R"({"prompt": "a", "response": "b"})", "has no \"completion\"", "write it as"},
        {R"({"prompt": "a", "completion": 3})", "completion is a JSON number", "quotation marks"},
        {R"({"prompt": null, "completion": "b"})", "prompt is a JSON null", "quotation marks"},
        {R"({"prompt": "a", "completion": ""})", "completion is empty", "take out the line"},
        {R"({"prompt": "a\u0000", "completion": "b"})", "prompt holds a NUL byte", "take it out"},
        {R"({"prompt": "a", "completion": "\u0000"})", "completion holds a NUL", "take it out"},
    };
    const std::string fine = directory.write("fine.jsonl", numbered(3));
    for (const Mistake& m : mistakes) {
        const std::string path = directory.write("a.jsonl", numbered(2) + "\n" + m.text + "\n");
        CAPTURE(m.text);
        for (const auto& [message, flag] : {std::pair(refusal(path, "", 9), "--data"),
                                            std::pair(refusal(fine, path, 9), "--val-data")}) {
            CHECK(message.find(flag + (" '" + path + "', line 4")) == 0);
            CHECK_THAT(message, contains(m.cause));
            CHECK_THAT(message, contains(m.remedy));
            CHECK(message.find('\n') == std::string::npos);
        }
    }
}

TEST_CASE("files that hold no samples to train on are refused", "[samples]") {
    const TemporaryDirectory directory;
    const auto file = [&](const std::string& text) { return directory.write("a.jsonl", text); };
    CHECK_THAT(refusal(file(""), "", 9), contains("a.jsonl' holds no sample"));
    CHECK_THAT(refusal(file("\n  \n"), "", 9), contains("holds no sample"));
    CHECK_THAT(refusal(file(numbered(1)), "", 9), contains("has one sample"));
    CHECK_THAT(refusal(directory / "none.jsonl", "", 9), contains("No such file"));
    std::filesystem::create_directory(directory / "folder.jsonl");
    CHECK_THAT(refusal(directory / "folder.jsonl", "", 9), contains("directory"));
    const std::string fine = directory.write("fine.jsonl", numbered(3));
    const std::string text = directory.write("b.txt", std::string(100, 'b'));
    CHECK_THAT(refusal(fine, text, 9), contains("one kind"));
    CHECK_THAT(refusal(text, fine, 9), contains("one kind"));
    CHECK_THAT(refusal("", fine, 9), contains("built-in stories"));
    CHECK_THAT(refusal(fine, "", 0), contains("--seq 0"));
    const std::string long_prompts = line("long", "a") + line("longer", "b");
    CHECK_THAT(refusal(file(long_prompts), "", 3), contains("train on has only prompts longer"));
    CHECK_THAT(refusal(file(long_prompts), "", 4), contains("held out, has only prompts longer"));
    CHECK_THAT(refusal(fine, file(long_prompts), 3), contains("--val-data"));
    CHECK(refusal(file(long_prompts), "", 6) == "");
}

TEST_CASE("--epochs gives the steps", "[samples]") {
    const auto parse = [](std::vector<std::string> words) {
        words.insert(words.begin(), "train");
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        return *parse_flags(static_cast<int>(argv.size()), argv.data());
    };
    const auto steps = [&](const std::vector<std::string>& words, int64_t epoch) {
        RunConfig run = parse(words);
        choose_steps(run, epoch);
        return run.schedule.steps;
    };
    CHECK(steps({"--epochs", "15", "--batch", "4", "--accumulate", "2"}, 7) == 14);  // 105 / 8
    CHECK(steps({"--epochs", "2", "--batch", "8"}, 12) == 3);
    CHECK(steps({"--epochs", "2", "--batch", "8", "--steps", "3"}, 12) == 3);
    CHECK(steps({"--steps", "9"}, 12) == 9);
    CHECK(steps({"--steps", "9"}, 0) == 9);
    CHECK(steps({"--epochs", "1", "--batch", "100"}, 12) == 1);
    CHECK_THROWS_WITH(steps({"--epochs", "2", "--batch", "8", "--steps", "4"}, 12),
                      contains("--steps 4 and --epochs 2, which are 3 steps of 8 samples"));
    CHECK_THROWS_WITH(steps({"--epochs", "2"}, 0), contains("give --steps"));
    CHECK_THROWS_WITH(steps({"--epochs", "1", "--batch", "8", "--check", "3"}, 12),
                      contains("--check 3 is more than the run's 2 steps"));
    CHECK_THROWS_WITH(parse({"--epochs", "1.5"}), contains("whole number"));

    // The saved settings repeat the epochs, and so the steps.
    const TemporaryDirectory directory;
    const std::string saved =
        directory.write("run.json", parse({"--epochs", "2", "--batch", "8"}).json);
    CHECK(steps({"--config", saved}, 12) == 3);
    CHECK(steps({"--config", saved, "--epochs", "0", "--steps", "5"}, 12) == 5);
}
