// The test program. Catch2's own flags work: ./tests "[norm]", ./tests --list-tests.
#define CATCH_CONFIG_RUNNER
#include <cstdio>

#include "catch.h"
#include "device.h"
#include "gradcheck.h"

int main(int argc, char** argv) {
    // On stderr, because tools read Catch2's list of tests from stdout.
    using peri::tolerance_factor;
    std::fprintf(stderr, "%s; seeds", peri::backend_description().c_str());
    for (const uint64_t seed : peri::seeds)
        std::fprintf(stderr, " %llu", static_cast<unsigned long long>(seed));
    if (tolerance_factor() != 1)
        std::fprintf(stderr, "; all tolerances times %g", tolerance_factor());
    std::fprintf(stderr, "\n");
    peri::reserve_workspace<double>(size_t(64) << 20);
    peri::reserve_workspace<float>(size_t(64) << 20);
    return Catch::Session().run(argc, argv);
}
