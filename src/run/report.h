// What is printed before a run: its settings, its parameters and its memory.
#pragma once

#include "run/run_config.h"

namespace peri {

void print_settings(const RunConfig& run);

template <class Real>
void print_memory(const RunConfig& run);

}  // namespace peri
