// The libraries underneath, put right where their defaults would cost the user speed. Every binary
// that links this file starts itself once more with better settings, which the libraries read only
// when they are loaded; a setting that the user has made stands.
//
// - OpenBLAS takes a processor newer than itself for a very old one and runs its slow kernels:
//   OPENBLAS_CORETYPE.
// - OpenMP's threads (GCC's) wait for each other by spinning for milliseconds. Where other programs
//   run as well, the spinning thread keeps the one it waits for from its core: GOMP_SPINCOUNT.
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
// OPENBLAS_CORETYPE. "Accelerate" on a Mac without OpenBLAS.
std::string blas_description();

void set_blas_threads(int n);

}  // namespace peri
