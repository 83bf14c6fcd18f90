// Text files as bytes, or llm.c token shards.
#pragma once

#include <memory>
#include <string>

#include "data/data.h"

namespace peri {

// As open_data (data.h) says, for a path that names one of these.
std::unique_ptr<Data> open_corpus(const std::string& path, const std::string& val_path, int T,
                                  Draw draw);

}  // namespace peri
