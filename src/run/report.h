// What is printed before a run: its settings, its parameters and its memory.
#pragma once

#include "profile.h"
#include "run/run_config.h"

namespace peri {

// "train_mpi: what", on stderr; program: as it was called.
void print_error(const char* program, const std::string& what);

void print_settings(const RunConfig& run);

template <class Real>
void print_memory(const RunConfig& run);

// The table of --profile, which DIRECTORY/profile.csv then holds too.
template <class Real>
void print_profile(const Profile<Real>& profile, Ceilings ceilings, const std::string& directory);

}  // namespace peri
