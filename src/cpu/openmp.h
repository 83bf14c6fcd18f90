// OpenMP's functions, also for a compiler without it: then there is one thread.
#pragma once

#ifdef _OPENMP
#include <omp.h>
constexpr bool has_openmp = true;
#else
constexpr bool has_openmp = false;
inline int omp_get_max_threads() { return 1; }
inline int omp_get_num_threads() { return 1; }
inline int omp_get_thread_num() { return 0; }
inline void omp_set_num_threads(int) {}
#endif
