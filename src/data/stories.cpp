#include "data/stories.h"

#include "check.h"
#include "data/embed.h"
#include "data/rows.h"

EMBED(peri_stories, "stories.grammar");

namespace peri {

const Grammar& stories() {
    static const Grammar grammar(std::string(peri_stories_begin, peri_stories_end));
    return grammar;
}

namespace {

class Stories final : public Data {
  public:
    std::string describe() const override {
        return "the built-in stories (data/stories.grammar), told anew for every batch";
    }
    int vocab() const override { return 256; }

    Batch training_rows(uint64_t seed, int64_t step, int, int T, int first,
                        int count) const override {
        const auto row = [&](int r, std::span<int> tokens) {
            tell_row(Rng(seed, step, r, training_stream), tokens);
        };
        return make_batch(count, T, row, first);
    }

    Batch validation(int i, int B, int T) const override {
        return make_batch(
            B, T, [&](int r, std::span<int> tokens) { tell_row(validation_rng(i, r), tokens); });
    }

    Batch whole(int64_t, int, int) const override { return {}; }
    bool bytes() const override { return true; }

    double floor(int batches, int B, int T) const override {
        CHECK(batches >= 1 && B >= 1 && T >= 1);
        double nats = 0;
        std::vector<int> tokens(size_t(T) + 1);
        for (int i = 0; i < batches; ++i) {
            for (int r = 0; r < B; ++r) nats += tell_row(validation_rng(i, r), tokens);
        }
        return nats / (double(batches) * B * T);
    }

  private:
    // No seed here: runs that differ in seed are compared on the same stories.
    static Rng validation_rng(int i, int r) { return Rng(0, i, r, validation_stream); }

    // End of text, then stories with end of text after each, as many bytes as there is room for.
    // The row begins where a story does, so all that decides a byte's probability is in the row
    // itself. Returns the nats of all bytes but the first.
    static double tell_row(Rng rng, std::span<int> tokens) {
        constexpr int end_of_text = 0;
        double nats = 0;
        size_t at = 0;
        tokens[at++] = end_of_text;
        while (at < tokens.size()) {
            const Grammar::Story story = stories().tell(rng);
            for (size_t k = 0; k < story.text.size() && at < tokens.size(); ++k) {
                tokens[at++] = static_cast<unsigned char>(story.text[k]);
                nats += story.nats[k];
            }
            if (at < tokens.size()) tokens[at++] = end_of_text;  // certain: no nats
        }
        return nats;
    }
};

}  // namespace

std::unique_ptr<Data> open_stories() { return std::make_unique<Stories>(); }

}  // namespace peri
