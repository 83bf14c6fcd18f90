// Parses the grammar, refuses what would make it ambiguous, and tells stories with exact costs.
#include "data/grammar.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <string_view>

#include "check.h"

namespace peri {
namespace {

// Far beyond any use, and few enough levels of recursion for the stack.
constexpr size_t longest_story = 4000;

[[noreturn]] void refuse(const std::string& rule, const std::string& what) {
    throw UserError("grammar, rule '" + rule + "': " + what);
}

std::string trim(const std::string& text) {
    const size_t first = text.find_first_not_of(" \r");
    if (first == std::string::npos) return "";
    return text.substr(first, text.find_last_not_of(" \r") - first + 1);
}

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> pieces;
    for (size_t begin = 0; begin <= text.size();) {
        const size_t end = std::min(text.find(separator, begin), text.size());
        pieces.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return pieces;
}

// The lines that hold rules: without comments and empty lines, continuations joined.
std::vector<std::string> rule_lines(const std::string& text) {
    std::vector<std::string> lines;
    for (const std::string& line : split(text, '\n')) {
        if (line.starts_with('#') || trim(line).empty()) continue;
        if (line.starts_with(' ') && !lines.empty()) {
            lines.back() += line;
        } else {
            lines.push_back(line);
        }
    }
    return lines;
}

// Takes "3*" off the front of an alternative; 1 where there is none.
double take_weight(const std::string& rule, std::string& alternative) {
    const size_t digits = alternative.find_first_not_of("0123456789");
    if (digits == 0 || digits == std::string::npos || alternative[digits] != '*') return 1;
    int weight = 0;
    const char* const end = alternative.data() + digits;
    if (std::from_chars(alternative.data(), end, weight).ec != std::errc() || weight < 1) {
        refuse(rule, "the weight of '" + alternative + "' must be a whole number from 1 up");
    }
    alternative = trim(alternative.substr(digits + 1));
    return weight;
}

bool one_begins_the_other(std::string_view a, std::string_view b) {
    return a.starts_with(b) || b.starts_with(a);
}

}  // namespace

// ------------------------------------------------------------------------------------- reading

Grammar::Grammar(const std::string& text) {
    const std::vector<std::string> lines = rule_lines(text);
    std::vector<std::string> right_sides;
    for (const std::string& line : lines) {
        const size_t equals = line.find('=');
        const std::string name = trim(line.substr(0, equals));
        if (equals == std::string::npos || name.empty()) {
            refuse(name, "a rule is written name = alternative | alternative");
        }
        if (find_rule(name) >= 0) refuse(name, "it is defined twice; join its alternatives with |");
        rules_.push_back({name, {}});
        right_sides.push_back(line.substr(equals + 1));
    }
    story_ = find_rule("story");
    if (story_ < 0) refuse("story", "it is missing, and every story begins with it");

    for (size_t i = 0; i < rules_.size(); ++i) {
        Rule& rule = rules_[i];
        double total = 0;
        for (const std::string& source : split(right_sides[i], '|')) {
            rule.alternatives.push_back(parse_alternative(rule.name, trim(source)));
            total += rule.alternatives.back().weight;
        }
        for (Alternative& a : rule.alternatives) a.probability = a.weight / total;
    }
    check_recursion();
    for (const Rule& rule : rules_) check_choice(rule);
}

int Grammar::find_rule(const std::string& name) const {
    const auto found = std::ranges::find(rules_, name, &Rule::name);
    return found == rules_.end() ? -1 : static_cast<int>(found - rules_.begin());
}

Grammar::Alternative Grammar::parse_alternative(const std::string& rule,
                                                const std::string& source) {
    std::string text = source;
    Alternative result;
    result.source = source;
    result.weight = take_weight(rule, text);
    if (text.empty()) refuse(rule, "an alternative is empty; give it some text");
    // Printable ASCII alone: byte 0 marks a story's end, and a newcomer can read the rest.
    const auto strange =
        std::ranges::find_if_not(text, [](char c) { return c >= ' ' && c <= '~'; });
    if (strange != text.end()) {
        refuse(rule, "an alternative holds byte " +
                         std::to_string(static_cast<unsigned char>(*strange)) +
                         "; write printable ASCII alone");
    }
    for (size_t at = 0; at < text.size();) {
        const size_t open = std::min(text.find('<', at), text.size());
        if (open > at) result.parts.push_back({.literal = text.substr(at, open - at)});
        if (result.parts.size() && result.parts.back().literal.find('>') != std::string::npos) {
            refuse(rule, "'" + source + "' has a > without its <");
        }
        if (open == text.size()) break;
        const size_t close = text.find('>', open);
        if (close == std::string::npos) refuse(rule, "'" + source + "' has a < without its >");
        result.parts.push_back(parse_reference(rule, text.substr(open + 1, close - open - 1)));
        at = close + 1;
    }
    return result;
}

// "rule" or "variable:rule"
Grammar::Part Grammar::parse_reference(const std::string& rule, const std::string& reference) {
    const size_t colon = reference.find(':');
    const bool named = colon != std::string::npos;
    Part part;
    part.rule = find_rule(named ? reference.substr(colon + 1) : reference);
    if (part.rule < 0) refuse(rule, "<" + reference + "> names a rule that does not exist");
    if (!named) return part;

    const std::string name = reference.substr(0, colon);
    if (name.empty()) refuse(rule, "<" + reference + "> has no variable before the colon");
    const auto known = std::ranges::find(variables_, name, &Variable::name);
    part.variable = static_cast<int>(known - variables_.begin());
    if (known == variables_.end()) {
        variables_.push_back({name, part.rule});
    } else if (known->rule != part.rule) {
        refuse(rule, "<" + reference + "> expands another rule than <" + name + ":" +
                         rules_[known->rule].name + "> does; give it a variable of its own");
    }
    return part;
}

// ------------------------------------------------------------------------------------- checking

// Both questions are answered from the bottom up: a rule is fine once what it rests on is fine.
void Grammar::check_recursion() const {
    using Fine = std::vector<bool>;
    const auto settle = [&](const std::function<bool(const Rule&, const Fine&)>& holds) {
        Fine fine(rules_.size(), false);
        for (size_t round = 0; round < rules_.size(); ++round) {
            for (size_t i = 0; i < rules_.size(); ++i) fine[i] = holds(rules_[i], fine);
        }
        return fine;
    };
    const Fine leads_to_text = settle([](const Rule& rule, const Fine& fine) {
        return std::ranges::all_of(rule.alternatives, [&](const Alternative& a) {
            return a.parts[0].rule < 0 || fine[a.parts[0].rule];
        });
    });
    const Fine can_end = settle([](const Rule& rule, const Fine& fine) {
        return std::ranges::any_of(rule.alternatives, [&](const Alternative& a) {
            return std::ranges::all_of(a.parts,
                                       [&](const Part& p) { return p.rule < 0 || fine[p.rule]; });
        });
    });
    for (size_t i = 0; i < rules_.size(); ++i) {
        if (!leads_to_text[i]) refuse(rules_[i].name, "it begins with itself without end");
        if (!can_end[i]) refuse(rules_[i].name, "its recursion can never end");
    }
}

// It is enough to look at variables that hold no text yet: what one holds was told from its rule,
// so it begins with one of that rule's openings, and texts that differ still differ when made
// longer.
void Grammar::check_choice(const Rule& rule) const {
    const std::vector<std::string> unbound(variables_.size());
    std::vector<std::vector<Opening>> openings;
    for (const Alternative& b : rule.alternatives) {
        collect_openings(b.parts[0], 1, unbound, openings.emplace_back());
        for (size_t i = 0; i + 1 < openings.size(); ++i) {
            for (const Opening& x : openings[i]) {
                for (const Opening& y : openings.back()) {
                    if (!one_begins_the_other(*x.text, *y.text)) continue;
                    refuse(rule.name, "alternatives '" + rule.alternatives[i].source + "' and '" +
                                          b.source + "' can begin alike ('" + *x.text + "' and '" +
                                          *y.text + "'); let their first words differ");
                }
            }
        }
    }
}

// All ways in which `part` can begin, given the texts that variables hold (empty: none yet).
void Grammar::collect_openings(const Part& part, double probability,
                               const std::vector<std::string>& bound,
                               std::vector<Opening>& out) const {
    if (part.rule < 0) {
        out.push_back({&part.literal, probability});
    } else if (part.variable >= 0 && !bound[part.variable].empty()) {
        out.push_back({&bound[part.variable], probability});
    } else {
        for (const Alternative& a : rules_[part.rule].alternatives) {
            collect_openings(a.parts[0], probability * a.probability, bound, out);
        }
    }
}

// -------------------------------------------------------------------------------------- telling

class Grammar::Teller {
  public:
    Teller(const Grammar& grammar, Rng& rng)
        : grammar_(grammar), rng_(rng), bound_(grammar.variables_.size()) {}

    void expand(const Part& part) {
        // A choice comes into view with all its openings, those of rules at its start included. The
        // expansion then goes down to one of them, and writing it decides the choice.
        if (openings_.empty()) grammar_.collect_openings(part, 1, bound_, openings_);
        if (part.rule < 0) return write(part.literal);
        const bool named = part.variable >= 0;
        if (named && !bound_[part.variable].empty()) return write(bound_[part.variable]);

        const size_t begin = story.text.size();
        for (const Part& p : pick(grammar_.rules_[part.rule]).parts) expand(p);
        if (named && bound_[part.variable].empty()) {
            bound_[part.variable] = story.text.substr(begin);
        }
    }

    Story story;

  private:
    const Alternative& pick(const Rule& rule) {
        double rest = rng_.uniform();
        for (const Alternative& a : rule.alternatives) {
            if ((rest -= a.probability) < 0) return a;
        }
        return rule.alternatives.back();  // the probabilities' sum may round to just below 1
    }

    // Each byte rules out the openings that differ from it, which costs
    // -log(P(openings that agree with this byte) / P(openings that agreed before it)).
    void write(const std::string& text) {
        for (size_t i = 0; i < text.size(); ++i) {
            const double before = share();
            // No opening begins another, so one that still agrees at i is longer than i.
            std::erase_if(openings_, [&](const Opening& o) { return (*o.text)[i] != text[i]; });
            story.nats.push_back(std::log(before / share()));
        }
        openings_.clear();
        story.text += text;
        if (story.text.size() > longest_story) {
            refuse("story", "a story grew beyond " + std::to_string(longest_story) +
                                " bytes; give the alternatives that end its recursion more weight");
        }
    }

    double share() const {
        double sum = 0;
        for (const Opening& o : openings_) sum += o.probability;
        return sum;
    }

    const Grammar& grammar_;
    Rng& rng_;
    std::vector<std::string> bound_;  // by variable: its text, empty before its first expansion
    std::vector<Opening> openings_;   // of the choice being made; empty between choices
};

Grammar::Story Grammar::tell(Rng& rng) const {
    Teller teller(*this, rng);
    teller.expand({.literal = "", .rule = story_, .variable = -1});
    return std::move(teller.story);
}

}  // namespace peri
