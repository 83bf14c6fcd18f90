// Work split over threads so that results depend on the number of threads at most, never on timing.
#pragma once

#include <algorithm>
#include <cstddef>

#include "cpu/openmp.h"

namespace peri {

// Calls f(begin, end, thread) once a thread on contiguous, disjoint ranges that cover 0 .. n-1, and
// returns how many threads there were: partial results lie under thread = 0 .. threads - 1.
template <class F>
int parallel_ranges(size_t n, F f) {
    int threads = 1;
#pragma omp parallel
    {
        const size_t count = static_cast<size_t>(omp_get_num_threads());
        const size_t thread = static_cast<size_t>(omp_get_thread_num());
        if (thread == 0) threads = static_cast<int>(count);
        f(n * thread / count, n * (thread + 1) / count, static_cast<int>(thread));
    }
    return threads;
}

}  // namespace peri
