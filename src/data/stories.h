// The built-in corpus: endless small stories from data/stories.grammar, with known entropy.
#pragma once

#include <memory>

#include "data/data.h"
#include "data/grammar.h"

namespace peri {

// The grammar that data/stories.grammar holds, compiled into the program.
const Grammar& stories();

// Stories told anew for every batch. A row begins where a story does; floor() is exact.
std::unique_ptr<Data> open_stories();

}  // namespace peri
