#include "run/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <new>

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

namespace {

constexpr char last_sentence[] =
    "train: no memory left: choose a smaller --batch, --seq or --size\n";
int last_code;

bool memory_has_ended = false;

void remember() {
    memory_has_ended = true;
    throw std::bad_alloc();
}

bool is_of_memory(const std::exception_ptr& exception) {
    try {
        if (exception) std::rethrow_exception(exception);
    } catch (const std::bad_alloc&) {
        return true;
    } catch (...) {
    }
    return false;
}

[[noreturn]] void end() {
    const bool of_memory = memory_has_ended || is_of_memory(std::current_exception());
    if (of_memory && write(STDERR_FILENO, last_sentence, sizeof last_sentence - 1) > 0)
        _exit(last_code);
    std::abort();
}

}  // namespace

void end_with_memory(int code) {
    last_code = code;
    std::set_new_handler(remember);
    std::set_terminate(end);
}

int interrupt() { return received; }

}  // namespace peri
