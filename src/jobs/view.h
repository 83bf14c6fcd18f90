// --view: a page that draws runs, side by side and while they train. One HTML file that needs no network and
// no server: data, style and script are inside (data/view.html, which this program fills in).
#pragma once

#include <string>

#include "run/run_config.h"

namespace peri {

// The page of run.viewed, directories of runs, written to OUT/view.html (without --out the first of them).
// As long as another process trains one of them it is written anew every two seconds, and loads itself anew.
// Throws UserError where a directory holds no run.
void view(const RunConfig& run);

// What the page is made of: for each run its name, its settings, and as columns what its files hold, thinned
// to so many steps. A last line that was cut off is left out; what is no number is null.
std::string view_page(const std::vector<std::string>& directories, bool following);

}  // namespace peri
