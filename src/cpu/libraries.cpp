#include "cpu/libraries.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <sstream>

#include "cpu/blas.h"

namespace peri {

std::string better_core(const std::string& chosen, CpuFeatures cpu) {
    static const std::set<std::string> with_avx512 = {"SkylakeX", "Cooperlake", "SapphireRapids"};
    static const std::set<std::string> with_avx2 = {"Haswell", "Zen"};
    if (with_avx512.contains(chosen) || chosen == "Zen") return "";
    if (cpu.avx512) return "SKYLAKEX";
    if (cpu.avx2_fma && !with_avx2.contains(chosen)) return "HASWELL";
    return "";
}

#ifdef USE_ACCELERATE

std::string blas_description() { return "Accelerate"; }

void set_blas_threads(int) {}  // it has its own

#else

void set_blas_threads(int n) { openblas_set_num_threads(n); }

std::string blas_description() {
    std::istringstream config(openblas_get_config());  // "OpenBLAS 0.3.21 NO_LAPACKE ..."
    std::string name, version;
    config >> name >> version;
    const std::string core = openblas_get_corename();
    const bool told = std::getenv("OPENBLAS_CORETYPE") != nullptr;
    const bool openmp = openblas_get_parallel() == OPENBLAS_OPENMP;
    return name + " " + version + ", core " + core + (told ? " (set by OPENBLAS_CORETYPE)" : "") +
           (openmp ? "" : " (slow: not built with OpenMP; install libopenblas-openmp-dev)");
}

#if defined(__linux__) && defined(__GLIBC__)
namespace {

// OpenBLAS takes 128 MiB of addresses a thread before main begins, and where it gets none it asks for ever;
// 256 more are for all else.
// So this runs before the constructors of all libraries (.preinit_array), where the shell limits addresses.
void refuse_too_few_addresses(int, char**, char** environment) {
    rlimit limit{};
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
    long threads = sysconf(_SC_NPROCESSORS_ONLN);
    for (const char* name : {"OMP_NUM_THREADS=", "OPENBLAS_NUM_THREADS="})  // the later one wins
        for (char** variable = environment; *variable; variable++)
            if (std::strncmp(*variable, name, std::strlen(name)) == 0)
                threads = std::max(1l, std::atol(*variable + std::strlen(name)));
    const size_t needed = (size_t(threads) * 128 + 256) << 20;
    void* const there = mmap(nullptr, needed, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (there != MAP_FAILED) {
        munmap(there, needed);
        return;
    }
    const char words[] =
        "train: the shell allows too few addresses (ulimit -v) for OpenBLAS: allow more, or set "
        "OPENBLAS_NUM_THREADS=1\n";
    if (write(STDERR_FILENO, words, sizeof words - 1) < 0) _exit(2);
    _exit(2);
}

[[gnu::section(".preinit_array"),
  gnu::used]] void (*const before_libraries)(int, char**, char**) = refuse_too_few_addresses;

}  // namespace
#endif

// glibc alone hands argv to constructors
#if defined(__linux__) && defined(__GLIBC__)
namespace {

bool is_set(const char* variable) { return std::getenv(variable) != nullptr; }

// These variables are read when the libraries are loaded, before any code of ours runs: so the only
// moment to set them is before the program starts. This constructor runs after the libraries' own
// and, where a setting is missing, starts the same program once more with it. A variable that is
// already set is the user's word (or ours): then nothing happens.
[[gnu::constructor]] void put_libraries_right(int, char** argv, char**) {
    bool again = false;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const std::string core = better_core(openblas_get_corename(), {avx2_fma, avx512});
    if (!core.empty() && !is_set("OPENBLAS_CORETYPE")) {
        setenv("OPENBLAS_CORETYPE", core.c_str(), 1);
        again = true;
    }
#endif
    if (!is_set("GOMP_SPINCOUNT") && !is_set("OMP_WAIT_POLICY")) {
        setenv("GOMP_SPINCOUNT", "3000", 1);  // about ten microseconds, then threads sleep
        again = true;
    }
    if (again) execv("/proc/self/exe", argv);  // no /proc: run on, slower
}

}  // namespace
#endif

#endif  // USE_ACCELERATE

}  // namespace peri
