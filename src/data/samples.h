// Samples to fine-tune on, as JSON Lines: {"prompt": "...", "completion": "..."}, one a line.
#pragma once

#include <memory>
#include <string>

#include "data/data.h"

namespace peri {

// Tokens are bytes: the prompt's, the completion's, end of text (0). A sample is one sequence, cut
// or padded to T tokens; targets are the completion and its end of text alone. An empty prompt
// stands as end of text, so that every byte of a completion has a token before it. Samples whose
// prompt leaves no room for a target are left out. An epoch is a permutation of the samples, drawn
// from (seed, epoch). val_path "" holds out the last 5 % of the samples, at least one. Throws
// UserError naming the file, the line, what is wrong and the remedy.
std::unique_ptr<Data> open_samples(const std::string& path, const std::string& val_path, int T);

}  // namespace peri
