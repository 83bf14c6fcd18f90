// nlohmann-json. What it asserts of itself does not hold where memory has ended in the middle of a constructor: that
// ends the program as an exception from its destructor would (run/interrupt.h).
#pragma once

#include <exception>

#define JSON_ASSERT(x) ((x) ? static_cast<void>(0) : std::terminate())
#include <nlohmann/json.hpp>
