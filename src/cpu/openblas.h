// OpenBLAS, put right: Debian's library takes a processor newer than itself for a very old one and
// then runs at a fifth of the speed. Every binary that links this file corrects that by itself.
#pragma once

#include <string>

namespace peri {

struct CpuFeatures {
    bool avx2_fma, avx512;
};

// The name (for OPENBLAS_CORETYPE) of the core whose kernels this processor should run, or "" when
// the one that OpenBLAS chose by itself is no worse. chosen: openblas_get_corename().
std::string better_core(const std::string& chosen, CpuFeatures cpu);

// "OpenBLAS 0.3.21, core Zen": what runs now; says so where the core was chosen by
// OPENBLAS_CORETYPE.
std::string openblas_description();

}  // namespace peri
