#include "cpu/openblas.h"

#include <cblas.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <sstream>

namespace peri {

std::string better_core(const std::string& chosen, CpuFeatures cpu) {
    static const std::set<std::string> with_avx512 = {"SkylakeX", "Cooperlake", "SapphireRapids"};
    static const std::set<std::string> with_avx2 = {"Haswell", "Zen"};
    if (with_avx512.contains(chosen) || chosen == "Zen") return "";
    if (cpu.avx512) return "SKYLAKEX";
    if (cpu.avx2_fma && !with_avx2.contains(chosen)) return "HASWELL";
    return "";
}

std::string openblas_description() {
    std::istringstream config(openblas_get_config());  // "OpenBLAS 0.3.21 NO_LAPACKE ..."
    std::string name, version;
    config >> name >> version;
    const std::string core = openblas_get_corename();
    const bool told = std::getenv("OPENBLAS_CORETYPE") != nullptr;
    const bool openmp = openblas_get_parallel() == OPENBLAS_OPENMP;
    return name + " " + version + ", core " + core + (told ? " (set by OPENBLAS_CORETYPE)" : "") +
           (openmp ? "" : " (slow: not built with OpenMP; install libopenblas-openmp-dev)");
}

#if defined(__x86_64__) && defined(__linux__)
namespace {

// OpenBLAS reads OPENBLAS_CORETYPE when it is loaded, which is before any code of ours runs: so the
// only moment to set it is before the program starts. This constructor runs after OpenBLAS's own,
// sees what was chosen and, where that is wrong, starts the same program once more with the
// variable set. A variable that is already set is the user's word (or ours): then nothing happens.
[[gnu::constructor]] void put_openblas_right(int, char** argv, char**) {
    if (std::getenv("OPENBLAS_CORETYPE")) return;
    __builtin_cpu_init();
    const bool avx2_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const std::string core = better_core(openblas_get_corename(), {avx2_fma, avx512});
    if (core.empty()) return;
    setenv("OPENBLAS_CORETYPE", core.c_str(), 1);
    execv("/proc/self/exe", argv);
    unsetenv("OPENBLAS_CORETYPE");  // no /proc: run on, slower; the start line names the core
}

}  // namespace
#endif

}  // namespace peri
