// Words that stand for values.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "check.h"

namespace peri {

template <class Value>
using Choices = std::vector<std::pair<std::string, Value>>;

// "a, b, c"
template <class Value>
std::string words(const Choices<Value>& choices) {
    std::string list;
    for (const auto& [word, value] : choices) list += (list.empty() ? "" : ", ") + word;
    return list;
}

// What `word`, given to --flag, stands for. Throws UserError naming the choices.
template <class Value>
Value choose(const std::string& flag, const std::string& word, const Choices<Value>& choices) {
    for (const auto& [known, value] : choices)
        if (word == known) return value;
    throw UserError("--" + flag + " " + word + ": choose one of " + words(choices));
}

// The word for `value`.
template <class Value>
const std::string& word_for(const Value& value, const Choices<Value>& choices) {
    const auto found = std::ranges::find(choices, value, &std::pair<std::string, Value>::second);
    CHECK(found != choices.end());
    return found->first;
}

}  // namespace peri
