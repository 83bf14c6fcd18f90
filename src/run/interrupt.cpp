#include "run/interrupt.h"

#include <csignal>

namespace peri {

namespace {

volatile std::sig_atomic_t received = 0;

void receive(int signal) {
    received = signal;
    std::signal(signal, SIG_DFL);
}

}  // namespace

void catch_interrupts() {
    std::signal(SIGINT, receive);
    std::signal(SIGTERM, receive);
}

void survive_file_limits() { std::signal(SIGXFSZ, SIG_IGN); }

int interrupt() { return received; }

}  // namespace peri
