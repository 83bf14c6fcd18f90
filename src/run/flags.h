// The command line and the settings file: every flag of ./train, its default and its check.
#pragma once

#include <optional>

#include "run/run_config.h"
#include "run/settings.h"

namespace peri {

// Nothing when only --help was asked for (and printed). Throws UserError: one sentence naming the
// flag, the value and the remedy.
std::optional<RunConfig> parse_flags(int argc, char** argv);

// What the number of --flag may be.
Range range_of(const std::string& flag);

// The model's vocabulary, --vocab or else the `needed` tokens of the data, and with it the separator
// of documents. Throws UserError.
void choose_vocab(RunConfig& run, int needed);

// The steps that --epochs takes, of sequences_in_epoch each (0: the data has no epochs). Throws
// UserError.
void choose_steps(RunConfig& run, int64_t sequences_in_epoch);

}  // namespace peri
