// Grammars that tell stories, each byte at a known cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "random.h"

namespace peri {

// The grammar: one rule a line, "name = alternative | alternative | ...". A line that begins with a
// space continues the rule above, one that begins with # is a comment. A story expands rule
// "story".
//   <rule>         expands the rule anew
//   <who:rule>     expands the rule the first time in a story and repeats that text afterwards
//   3* text        an alternative with weight 3 (default 1)
// Two alternatives of a choice must differ within the literal text they begin with (a rule at the
// start of an alternative is expanded first). So every byte of a story either has been decided or
// decides between known alternatives: a story has one derivation, and the probability of each of
// its bytes given the bytes before is known exactly.
class Grammar {
  public:
    explicit Grammar(const std::string& text);  // throws UserError naming the rule at fault

    // A story without end mark, and -log P(byte | bytes before it), in nats, for each of its bytes.
    // That the story ends after its last byte is certain: an end mark costs nothing.
    struct Story {
        std::string text;
        std::vector<double> nats;
    };
    Story tell(Rng& rng) const;

  private:
    struct Part {  // literal text, or a rule, whose text a variable may keep
        std::string literal;
        int rule = -1;
        int variable = -1;
    };
    struct Alternative {
        std::string source;  // as written, for messages
        double weight = 1;
        double probability = 1;
        std::vector<Part> parts;
    };
    struct Rule {
        std::string name;
        std::vector<Alternative> alternatives;
    };
    struct Variable {
        std::string name;
        int rule;  // the same wherever the variable stands
    };
    // One way a choice can go: its first bytes and its share of the choice.
    struct Opening {
        const std::string* text;
        double probability;
    };
    class Teller;

    int find_rule(const std::string& name) const;
    Alternative parse_alternative(const std::string& rule, const std::string& source);
    Part parse_reference(const std::string& rule, const std::string& reference);
    void check_recursion() const;
    void check_choice(const Rule& rule) const;
    void collect_openings(const Part& part, double probability,
                          const std::vector<std::string>& bound, std::vector<Opening>& out) const;

    std::vector<Rule> rules_;
    std::vector<Variable> variables_;
    int story_ = -1;  // the rule that a story expands
};

}  // namespace peri
