// Any text as a grammar: what is accepted tells stories in printable ASCII, each byte at a cost, by which no
// story is likelier than all together.
#include "data/grammar.h"

#include <cmath>
#include <map>

#include "fuzz.h"

void peri::read_input(const std::string& input) {
    use_or_refuse([&] {
        const Grammar grammar(input);
        std::map<std::string, double> told;  // its probability
        for (int i = 0; i < 8; i++) {
            Rng rng(1, i);
            const Grammar::Story story = grammar.tell(rng);
            CHECK(!story.text.empty() && story.nats.size() == story.text.size());
            for (const char c : story.text) CHECK(c >= ' ' && c <= '~');
            double sum = 0;
            for (const double nats : story.nats) {
                CHECK(nats >= -1e-12 && std::isfinite(nats));
                sum += nats;
            }
            told[story.text] = std::exp(-sum);
        }
        double total = 0;
        for (const auto& [text, probability] : told) {
            total += probability;
            // a story has one derivation: none is the beginning of another
            for (const auto& [other, its] : told) CHECK(other == text || !other.starts_with(text));
        }
        CHECK(total <= 1 + 1e-9);
    });
}
