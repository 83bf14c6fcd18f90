// The conformance suite of the backend that was linked. --help says what it takes.
#include <cstdio>
#include <iostream>

#include "check.h"
#include "suite.h"

int main(int argc, char** argv) {
    using namespace peri;
    // Those that need much workspace come last: the simulator guards all of it at every launch.
    const std::vector<Family> suite = {norm_checks(),       rope_checks(),      attention_checks(),
                                       activation_checks(), embedding_checks(), residual_checks(),
                                       few_bits_checks(),   optimizer_checks(), linear_checks(),
                                       loss_checks()};
    try {
        return run_suite(suite, argv[0], {argv + 1, argv + argc}, std::cout);
    } catch (const UserError& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
