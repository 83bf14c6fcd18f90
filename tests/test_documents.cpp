// --document-mask: attention stays inside a document, in training, in pieces and beside the oracle.
#include <cmath>

#include "accumulate.h"
#include "check.h"
#include "compare.h"
#include "jobs/crosscheck.h"
#include "jobs/evaluate.h"
#include "jobs/generate.h"
#include "models.h"
#include "program.h"
#include "run/flags.h"
#include "store/checkpoint.h"

using namespace peri;

namespace {

constexpr int separator = 3, B = 2, T = 11, target_rows = B * T;

// Where documents begin in each of the two sequences: at a separator, and with one of a single token
// at the end; within a document, which a separator ends at once.
const std::vector<std::vector<int>> beginnings = {{0, 4, 10}, {0, 1, 6}};

// Odd on purpose: no width is a multiple of 8, the vocabulary is padded.
ModelConfig config_of(const std::string& norm, Recompute recompute = Recompute::none,
                      bool mask = true) {
    ModelConfig c;
    c.norm = norm;
    c.layers = 2;
    c.width = 12;
    c.heads = 2;
    c.kv_heads = norm == "peri" ? 1 : 2;
    c.ffn = 19;
    c.vocab = 17;
    c.recompute = recompute;
    c.document_mask = mask;
    c.separator = separator;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

int any_token_but_separator(Rng& rng) {
    const int token = static_cast<int>(rng.below(16));
    return token < separator ? token : token + 1;
}

// Two sequences whose documents begin as above.
Batch documents(uint64_t seed) {
    Rng rng(seed);
    Batch batch{B, T, {}, {}};
    for (int r = 0; r < B * T; r++) {
        batch.tokens.push_back(any_token_but_separator(rng));
        batch.targets.push_back(any_token_but_separator(rng));
    }
    for (int b = 0; b < B; b++)
        for (const int begin : beginnings[b])
            if (begin > 0 || b == 0) batch.tokens[b * T + begin] = separator;
    return batch;
}

// Every document of the batch as a batch of its own, in the order of its rows.
std::vector<Batch> one_by_one(const Batch& batch) {
    std::vector<Batch> list;
    for (int b = 0; b < B; b++)
        for (size_t i = 0; i < beginnings[b].size(); i++) {
            const int begin = b * T + beginnings[b][i];
            const int end = b * T + (i + 1 < beginnings[b].size() ? beginnings[b][i + 1] : T);
            const auto part = [&](const std::vector<int>& all) {
                return std::vector<int>(all.begin() + begin, all.begin() + end);
            };
            list.push_back({1, end - begin, part(batch.tokens), part(batch.targets)});
        }
    return list;
}

// What the head reads of every row, and the gradient of every tensor, end to end.
struct Trace {
    std::vector<double> hidden, gradients;
    double loss;
};

// All batches one after the other: hidden states end to end, losses and gradients summed.
Trace run(const ModelConfig& config, const std::vector<Batch>& batches) {
    Model<double> model(config, B, T);
    randomise(model, 5);
    Trace trace;
    for (const Batch& batch : batches) {
        model.load(batch);
        model.forward();
        const std::vector<double> x = model.hidden_state(model.sublayer_count() + 1);
        trace.hidden.insert(trace.hidden.end(), x.begin(), x.end());
        model.backward(target_rows);
    }
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++) {
        const std::vector<double> g = model.gradient_values(id);
        trace.gradients.insert(trace.gradients.end(), g.begin(), g.end());
    }
    trace.loss = model.loss();
    return trace;
}

// Sums of other lengths and angles of other positions: some 1e-15 a layer in double.
constexpr double rounding = roundings(9000);

std::string differs(const std::vector<double>& got, const std::vector<double>& expected) {
    return difference(got, expected, rounding * largest(expected));
}

RunConfig parse(std::vector<std::string> words) {
    words.insert(words.begin(), "train");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    return *parse_flags(static_cast<int>(argv.size()), argv.data());
}

// The separator of a vocabulary, or why there is none.
std::string chosen(const std::vector<std::string>& flags, int needed) {
    RunConfig run = parse(flags);
    try {
        choose_vocab(run, needed);
        return std::to_string(run.model.separator);
    } catch (const UserError& e) {
        return e.what();
    }
}

}  // namespace

// RoPE makes scores depend on distances alone, so a document reads the same at position 0.
TEST_CASE("documents side by side are documents alone: states and gradients", "[documents]") {
    const Threads one(1);  // these models are too small to share
    const Batch batch = documents(1);
    for (const std::string norm : {"peri", "pre", "olmo2", "keel"})
        for (const Recompute recompute :
             {Recompute::none, Recompute::norms, Recompute::sublayers}) {
            CAPTURE(norm, word_for(recompute, recomputes()));
            const Trace together = run(config_of(norm, recompute), {batch});
            const Trace alone = run(config_of(norm, Recompute::none, false), one_by_one(batch));
            CHECK(differs(together.hidden, alone.hidden) == "");
            CHECK(differs(together.gradients, alone.gradients) == "");
            CHECK(together.loss == about(alone.loss, rounding));
            const Trace unmasked = run(config_of(norm, recompute, false), {batch});
            CHECK(differs(unmasked.hidden, alone.hidden) != "");
            CHECK(differs(unmasked.gradients, alone.gradients) != "");
        }
}

// The targets are those of the second document of the first sequence: rows 4 to 9.
TEST_CASE("a document's tokens change nothing of another document", "[documents]") {
    const Threads one(1);  // these models are too small to share
    Batch batch = documents(2);
    for (int r = 0; r < B * T; r++)
        if (r < 4 || r > 9) batch.targets[r] = -1;
    Batch changed = batch;
    for (const int r : {0, 1, 2, 3, 10, 13}) changed.tokens[r] = (batch.tokens[r] + 5) % 17;
    const auto both = [&](bool mask) {
        const ModelConfig config = config_of("peri", Recompute::none, mask);
        return std::pair(run(config, {batch}), run(config, {changed}));
    };
    const auto rows_4_to_9 = [](const Trace& trace) {
        return std::vector<double>(trace.hidden.begin() + 4 * 12, trace.hidden.begin() + 10 * 12);
    };
    const auto [before, after] = both(true);
    CHECK(rows_4_to_9(before) == rows_4_to_9(after));
    CHECK(before.loss == after.loss);
    CHECK(before.gradients == after.gradients);
    const auto [open_before, open_after] = both(false);
    CHECK(rows_4_to_9(open_before) != rows_4_to_9(open_after));
    CHECK(open_before.gradients != open_after.gradients);
}

TEST_CASE("without separators the mask changes no bit", "[documents]") {
    const Threads one(1);  // these models are too small to share
    Batch batch = documents(3);
    for (int& token : batch.tokens) token += token == separator;
    const Trace masked = run(config_of("peri"), {batch});
    const Trace open = run(config_of("peri", Recompute::none, false), {batch});
    CHECK(masked.hidden == open.hidden);
    CHECK(masked.gradients == open.gradients);
}

TEST_CASE("documents in micro-batches", "[documents]") {
    const Threads one(1);  // these models are too small to share
    const auto gradients = [](int micro) {
        Model<double> model(config_of("peri"), micro, T);
        randomise(model, 5);
        forward_backward(model, documents(4), micro);
        return model.gradient_values(model.table().sublayers[0].q);
    };
    CHECK(differs(gradients(1), gradients(2)) == "");
}

// Pieces that begin and end in the midst of documents, and a context too short for them all: then
// the latest half of it is read anew.
TEST_CASE("documents in pieces, with cached keys and values", "[documents]") {
    const Threads one(1);  // these models are too small to share
    const std::vector<int> tokens = {5,         6, separator, 7, 8, 9,         5,
                                     separator, 2, 4,         6, 1, separator, 9};
    const std::vector<int> pieces = {1, 4, 1, 1, 3, 1, 1, 2};
    for (const int context : {14, 8}) {
        Model<double> cached(config_of("peri"), 1, context), full(config_of("peri"), 1, context);
        Model<double> open(config_of("peri", Recompute::none, false), 1, context);
        for (Model<double>* const model : {&cached, &full, &open}) randomise(*model, 5);
        Decoder<double> decoder(cached);
        int seen = 0, end = 0;
        bool masked = false;
        for (const int piece : pieces) {
            const auto fed = std::vector<int>(tokens.begin() + end, tokens.begin() + end + piece);
            end += piece;
            seen = seen + piece <= context ? seen + piece : context / 2;
            const std::vector<int> latest(tokens.begin() + end - seen, tokens.begin() + end);
            const auto logits = [&](Model<double>& model) {
                model.load({1, seen, latest, std::vector<int>(seen, -1)});
                model.forward();
                return model.next_token_logits();
            };
            CAPTURE(context, end);
            CHECK(differs(decoder.feed(fed), logits(full)) == "");
            masked |= differs(logits(full), logits(open)) != "";
        }
        CHECK(masked);
    }
}

TEST_CASE("the memory plan counts where documents begin", "[documents]") {
    const auto activations = [](bool mask) {
        return plan_memory<float>(config_of("peri", Recompute::none, mask), B, T, 2).activations;
    };
    CHECK(activations(true) - activations(false) == 128);  // 22 ints, from one 64 to another
    CHECK(Model<float>(config_of("peri"), B, T).activations().document);
    CHECK_FALSE(
        Model<float>(config_of("peri", Recompute::none, false), B, T).activations().document);
}

TEST_CASE("--check with documents", "[documents]") {
    const Threads one(1);  // these models are too small to share
    RunConfig run;
    run.model = config_of("peri");
    run.batch = B;
    run.seq = T;
    run.schedule.steps = run.check = 1;
    CrossCheck<float> check(run);
    check.start(documents(6));
    for (const Comparison& c : check.compare_run()) {
        CAPTURE(c.stage, c.tensor, c.error, c.tolerance);
        CHECK(c.error == near(0, c.tolerance));
    }
}

TEST_CASE("the separator follows from the vocabulary, or is given", "[documents]") {
    const std::vector<std::string> mask = {"--document-mask"};
    CHECK(chosen(mask, 256) == "0");
    CHECK(chosen(mask, 50257) == "50256");
    CHECK(chosen(mask, 100258) == "100257");
    CHECK(chosen({"--document-mask", "--vocab", "100277"}, 100258) == "100257");
    CHECK(chosen({"--document-mask", "--vocab", "50304"}, 50257) == "50256");
    CHECK(chosen(mask, 199999 + 1) == "199999");
    CHECK(chosen({"--document-mask", "--separator", "7"}, 50257) == "7");
    CHECK(chosen({"--document-mask", "--separator", "7"}, 300) == "7");
    CHECK(chosen({}, 300) == "0");
    CHECK_THAT(chosen(mask, 300),
               contains("which of the data's 300 tokens") && contains("--separator"));
    CHECK_THAT(chosen(mask, 100257), contains("which of the data's 100257 tokens"));
    // text read as bytes holds no 50256
    CHECK_THAT(chosen({"--document-mask", "--vocab", "50304"}, 256), contains("--separator"));
    CHECK_THAT(chosen({"--separator", "256"}, 256), contains("--separator 256 is none of"));
    CHECK_THROWS_WITH(parse({"--separator", "-1"}), contains("--separator -1"));
}

TEST_CASE("the settings of documents are saved", "[documents]") {
    const TemporaryDirectory directory;
    const auto saved = [&](const std::vector<std::string>& flags) {
        return parse({"--config", directory.write("run.json", parse(flags).json)});
    };
    CHECK(saved({"--document-mask", "--separator", "7"}).model.document_mask);
    CHECK(saved({"--document-mask", "--separator", "7"}).separator == 7);
    CHECK(saved({"--document-mask"}).separator == -1);
    CHECK_FALSE(saved({}).model.document_mask);
}

// Lines of a book, each a document that a NUL byte begins.
TEST_CASE("--document-mask from training to evaluation and generation", "[documents][program]") {
    const TemporaryDirectory folder;
    std::string text;
    for (int i = 0; i < 400; i++) text += '\0' + ("line " + std::to_string(i * i)) + " of a book";
    const std::string data = "--data " + folder.write("book.txt", text);
    const Result masked =
        train(folder, quick + "--document-mask " + data + " --out " + folder / "a");
    CAPTURE(masked.out, masked.err);
    REQUIRE(masked.code == 0);
    CHECK_THAT(masked.out, contains("inside documents, which begin with token 0\n"));
    CHECK_THAT(read(folder / "a/config.json"), contains("\"document-mask\": true"));
    const Result open = train(folder, quick + data + " --out " + folder / "b");
    CHECK_THAT(open.out, !contains("documents"));
    CHECK(timeless_metrics(folder / "a") != timeless_metrics(folder / "b"));

    // the mask is among the settings of the weights
    const std::string weights = " --threads 1 --init-from " + folder / "a ";
    const auto evaluated = [&](const std::string& flags) {
        const Result r = train(folder, "--evaluate " + data + weights + flags);
        CAPTURE(r.out, r.err);
        REQUIRE(r.code == 0);
        const std::string title = "loss        ";
        return std::stod(r.out.substr(r.out.find(title) + title.size()));
    };
    const auto expected = [&](bool mask) {
        ModelConfig config = model_of(find_size("tiny"));
        config.document_mask = mask;
        resolve(config, "auto", Choice::automatic, Choice::automatic);
        Model<float> model(config, 3, 64, Purpose::inference);
        load_weights(folder / "a/step-00000004", model);
        const auto source = open_data(folder / "book.txt", "", 64);
        return evaluate<float>(
                   model, [&](int64_t i) { return source->whole(i, 3, 64); }, 3)
            .loss;
    };
    // printed to six digits behind the point
    const double printed = of_format(0.5e-6) + 1e-6;
    CHECK(evaluated("") == near(expected(true), printed));
    CHECK(evaluated("--document-mask=false") == near(expected(false), printed));
    CHECK(std::abs(expected(true) - expected(false)) > 1e-3);
    CHECK(train(folder, "--generate 70 --prompt line" + weights).code == 0);

    const Result goes_on =
        train(folder, "--resume auto --out " + folder / "a" + " --steps 5 --threads 1");
    CAPTURE(goes_on.out, goes_on.err);
    CHECK(goes_on.code == 0);
    CHECK_THAT(goes_on.out, contains("inside documents"));

    const std::string shard_ = folder.write("a.bin", shard(std::vector<uint16_t>(2000, 299)));
    const Result unknown = train(folder, quick + "--document-mask --dry-run --data " + shard_);
    CHECK(unknown.code == 2);
    CHECK_THAT(unknown.err, contains("which of the data's 300 tokens begins a document"));
    CHECK(
        train(folder, quick + "--document-mask --separator 299 --dry-run --data " + shard_).code ==
        0);
}
