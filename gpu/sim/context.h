// A stack to run on, and the way from one to another.
//
// swapcontext works on every system but asks the kernel for the signal mask each time, which takes
// most of a simulation's time. -DFAST_SWITCH, for x86-64 only, does without.
#pragma once

#include <cstddef>

#ifndef FAST_SWITCH

#include <ucontext.h>

namespace peri::sim {

struct Context {
    ucontext_t saved{};

    // the next switch to this context calls main, which must not return
    void begin(char* stack, size_t bytes, void (*main)()) {
        getcontext(&saved);
        saved.uc_stack.ss_sp = stack;
        saved.uc_stack.ss_size = bytes;
        makecontext(&saved, main, 0);
    }
    void switch_to(Context& next) { swapcontext(&saved, &next.saved); }
};

}  // namespace peri::sim

#else

// Pushes the registers that a function must preserve, changes stacks, pops them again.
extern "C" void peri_switch(void** top_before, void* top_next);
asm(".text\n"
    "peri_switch:\n"
    "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq "
    "%r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbx\n    popq %rbp\n"
    "    ret\n");

namespace peri::sim {

struct Context {
    void* top = nullptr;  // of its stack, while another one runs

    void begin(char* stack, size_t bytes, void (*main)()) {
        // six registers, where to return to, and where main would return to
        void** const words = reinterpret_cast<void**>(stack + bytes) - 8;
        for (int i = 0; i < 8; i++) words[i] = nullptr;
        words[6] = reinterpret_cast<void*>(main);
        top = words;
    }
    void switch_to(Context& next) { peri_switch(&top, next.top); }
};

}  // namespace peri::sim

#endif
