// The built-in corpus: endless small stories from data/stories.grammar, with known entropy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "random.h"

namespace peri {

// The grammar: one rule a line, "name = alternative | alternative | ...".
//   <rule>         expands the rule anew
//   <who:rule>     expands the rule the first time in a story and repeats that text afterwards
//   3* text        an alternative with weight 3 (default 1)
// Two alternatives of a choice must differ within the literal text they begin with (a rule at the
// start of an alternative is expanded first). So every byte of a story either has been decided or
// decides between known alternatives: a story has one derivation, and the probability of each of its
// bytes given the bytes before is known exactly.
class Grammar {
  public:
    explicit Grammar(const std::string& text);  // throws UserError naming the rule at fault

    // A story without end mark, and -log P(byte | bytes before it), in nats, for each of its bytes.
    struct Story {
        std::string text;
        std::vector<double> nats;
    };
    Story tell(Rng& rng) const;
    // ... the implementation's private parts
};

// The grammar that data/stories.grammar holds, compiled into the program.
const Grammar& stories();

}  // namespace peri
