// Prints the seconds of each of N training steps of Peri-LN, for compare.sh to set beside PyTorch.
//
// Usage: timed_steps PRECISION SIZE B T V N THREADS   e.g. timed_steps bf16 small 16 128 256 10 2
#include "measure.h"

using namespace peri;

namespace {

template <class Real>
void print_steps(char** argv) {
    set_threads(std::atoi(argv[7]));
    Steps<Real> steps(config_of(argv[2], std::atoi(argv[5]), "peri"), std::atoi(argv[3]),
                      std::atoi(argv[4]));
    steps.run(std::atoi(argv[6]), 0);
    for (const double seconds : steps.all_seconds()) std::printf("%.4f\n", seconds);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 8) {
        std::fprintf(stderr, "usage: timed_steps fp32|bf16 SIZE B T V STEPS THREADS\n");
        return 2;
    }
    std::string(argv[1]) == "bf16" ? print_steps<bf16>(argv) : print_steps<float>(argv);
}
