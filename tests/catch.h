// Whichever Catch2 the system has: 2.x on Debian 12 and Ubuntu 22.04, 3.x on newer ones.
#pragma once

// CHECK is the project's macro (a bug ends the program) and Catch2's (a test fails). In a test it
// is Catch2's: check.h is read first, so that nothing brings its macro back later.
#include "check.h"
#undef CHECK
#include "cpu/openmp.h"

// contains(part): a matcher for strings, whose name differs between the versions
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
inline auto contains(const std::string& part) { return Catch::Matchers::ContainsSubstring(part); }
#else
#include <catch2/catch.hpp>
inline auto contains(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif

// In a test of two threads: says so where the build has one alone.
inline void warn_of_one_thread() {
    if (!has_openmp) WARN("skipped: two threads (this build has no OpenMP)");
}
