// Which library computes which product fastest (backend_choices in device.h), kept from run to run
// in the user's cache: the bits of a run depend on it, so that a seed repeats to the bit only where
// the choice stands still.
#pragma once

#include <string>

namespace peri {

enum class Tune { off, on, again };  // again: what is kept is measured anew

// Makes the choices that were kept for this machine, these libraries and this number of threads.
// What cannot be followed, being damaged or another machine's, is named on stderr and then measured
// anew.
void recall_choices();

// Keeps the choices made so far beside those of other runs. Where that cannot be done, stderr says
// so: the run goes on.
void keep_choices();

// The file they are kept in, $XDG_CACHE_HOME/peri.cpp/products-<machine>.txt with ~/.cache for the
// first where it is not set; "" where there is neither.
std::string choices_path();

}  // namespace peri
