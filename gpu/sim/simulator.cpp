// Runs CUDA kernels on the CPU. Every thread of a block is a fiber, a stack of its own (see
// context.h); blocks run one after the other. A fiber runs until it has to wait for others, then
// hands on to the next; when all have had their turn, those let go meanwhile get another, in a new
// order.
//
// Race mode: in a program linked with -fsanitize=thread each fiber is made known to ThreadSanitizer
// as a thread, ordered with others by barriers and warp operations only, so that it reports
// accesses that nothing orders. Blocks take turns with two sets of fibers, so that nothing orders
// one block with the next either. This file itself is compiled without: its bookkeeping, which all
// fibers share, would be reported too.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "async_copy.h"
#include "context.h"
#include "guarded.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__
#endif
#endif
#ifdef __SANITIZE_THREAD__
#error \
    "compile simulator.cpp without -fsanitize=thread: it finds ThreadSanitizer where it is linked"
#endif

extern "C" {  // null where ThreadSanitizer is not linked
[[gnu::weak]] void* __tsan_get_current_fiber();
[[gnu::weak]] void* __tsan_create_fiber(unsigned flags);
[[gnu::weak]] void __tsan_destroy_fiber(void* fiber);
[[gnu::weak]] void __tsan_switch_to_fiber(void* fiber, unsigned flags);
[[gnu::weak]] void __tsan_acquire(void* address);
[[gnu::weak]] void __tsan_release(void* address);
}

namespace peri::sim {

Indices indices;
void check_device_guards();  // memory.cpp

namespace {

constexpr size_t stack_bytes = 64 * 1024;
constexpr unsigned most_threads = 1024;

enum class Waits { no, barrier, warp, ended };

struct Fiber {
    Context context;
    Guarded stack;
    bool begun = false;  // it is in fiber_main
    uint3 index{};
    unsigned number = 0;  // in the block; lane number % 32 of its warp
    Waits waits = Waits::no;
    Place place{};  // of the barrier or warp operation; the rest describes the latter
    const char* name = nullptr;
    unsigned mask = 0;
    void* operands = nullptr;
    void (*compute)(void* const*) = nullptr;
    std::vector<Copy> copies;  // on their way
    unsigned groups = 0;
    // Race mode: ThreadSanitizer's name for this fiber, and two addresses that stand for its coming
    // to a barrier or warp operation and for its being let go.
    void* known_as = nullptr;
    uint64_t came = 0, let_go = 0;
};

Fiber host;  // whoever called launch()
Fiber* current = &host;
std::vector<std::unique_ptr<Fiber>> sets[2];  // by number; more than a block has, perhaps
size_t set = 0;                               // the one in use
std::vector<Fiber*> turns, ready;             // those still to run in this round, and in the next
unsigned thread_count = 0, ended = 0, at_barrier = 0;
void (*thread_call)(void*);
void* thread_arguments;
Guarded shared;  // memory of the block
size_t shared_bytes = 0;
uint64_t order_seed = 1, order_state = 0;
uint64_t block_begin, grid_end;  // addresses for ThreadSanitizer
std::string failure;             // of a thread, for the host to report
void (*failure_handler)(const std::string&) = nullptr;

const bool race_mode = __tsan_create_fiber != nullptr;
void acquire(uint64_t& edge) {
    if (race_mode) __tsan_acquire(&edge);
}
void release(uint64_t& edge) {
    if (race_mode) __tsan_release(&edge);
}

Fiber& thread(unsigned number) { return *sets[set][number]; }

size_t random_below(size_t n) {
    order_state = order_state * 6364136223846793005 + 1442695040888963407;
    return (order_state >> 33) % n;
}

// ---- messages -----------------------------------------------------------------------------------

std::string text(unsigned x, unsigned y, unsigned z) {
    char result[40];
    std::snprintf(result, sizeof result, "(%u,%u,%u)", x, y, z);
    return result;
}
std::string text(Place place) { return std::string(place.file) + ":" + std::to_string(place.line); }
std::string text(const Fiber& f) {
    std::string result = "thread " + text(f.index.x, f.index.y, f.index.z);
    if (f.waits == Waits::ended) return result + " has ended";
    if (f.waits == Waits::barrier) return result + " waits at __syncthreads, " + text(f.place);
    char mask[16];
    std::snprintf(mask, sizeof mask, "0x%08x", f.mask);
    return result + " waits in " + f.name + " of lanes " + mask + ", " + text(f.place);
}

bool same_operation(const Fiber& a, const Fiber& b) {
    return b.waits == Waits::warp && a.mask == b.mask && a.compute == b.compute && a.name == b.name;
}

// A block is stuck: which thread waits, and for whom in vain. Those in warp operations first, since
// others wait at the barrier for them.
std::string why_stuck() {
    const Fiber* at = nullptr;
    for (unsigned i = 0; i < thread_count; i++) {
        const Fiber& f = thread(i);
        if (f.waits == Waits::barrier) at = &f;
        if (f.waits != Waits::warp) continue;
        for (unsigned j = 0; j < 32; j++) {
            const unsigned number = i / 32 * 32 + j;
            if (!(f.mask >> j & 1)) continue;
            if (number >= thread_count)
                return text(f) + "; the block has no such lane: " + std::to_string(j);
            if (!same_operation(f, thread(number))) return text(f) + "; " + text(thread(number));
        }
    }
    for (unsigned i = 0; at && i < thread_count; i++)
        if (thread(i).waits != Waits::barrier) return text(*at) + "; " + text(thread(i));
    return "no thread can run";
}

// ---- fibers -------------------------------------------------------------------------------------

void switch_to(Fiber& next, bool ordered = false) {
    Fiber& before = *current;
    current = &next;
    indices.thread = next.index;
    if (race_mode) __tsan_switch_to_fiber(next.known_as, ordered ? 0 : 1);
    before.context.switch_to(next.context);
}

// Lets these go together: what any of them did before is done before whatever any does from now on.
void let_go(Fiber* const* these, unsigned count, void (*compute)(void* const*),
            void* const* lanes) {
    for (unsigned i = 0; i < count; i++) acquire(these[i]->came);
    if (compute) compute(lanes);
    for (unsigned i = 0; i < count; i++) {
        release(these[i]->let_go);
        these[i]->waits = Waits::no;
        ready.push_back(these[i]);
    }
}

void release_barrier() {
    static Fiber* all[most_threads];  // static, because the stack is a thread's
    for (unsigned i = 0; i < thread_count; i++) {
        all[i] = &thread(i);
        if (all[i]->place.line != all[0]->place.line)
            fail("threads meet at different barriers: " + text(*all[0]) + "; " + text(*all[i]));
    }
    at_barrier = 0;
    let_go(all, thread_count, nullptr, nullptr);
}

// Lets others run until it is this fiber's turn again. Where no thread can run, the host can: the
// block is over, or stuck.
void hand_on() {
    if (turns.empty()) {
        if (at_barrier == thread_count) release_barrier();
        turns.swap(ready);
        for (size_t i = turns.size(); i > 1; i--) std::swap(turns[i - 1], turns[random_below(i)]);
        if (turns.empty()) turns.push_back(&host);
    }
    Fiber& next = *turns.back();
    turns.pop_back();
    if (&next != current) switch_to(next);
}

// One thread after another, of this block and of those to come.
void fiber_main() {
    for (;;) {
        acquire(block_begin);
        thread_call(thread_arguments);
        if (!current->copies.empty())
            fail("thread " + text(current->index.x, current->index.y, current->index.z) +
                 " ends with copies that it has not waited for");
        release(grid_end);
        current->waits = Waits::ended;
        ended++;
        hand_on();
    }
}

void begin_fiber(Fiber& fiber) {
    if (!fiber.stack.pages) {
        fiber.stack = Guarded::map(stack_bytes - 1);
        if (!fiber.stack.pages) fail("no memory for the stacks of threads");
        fiber.stack.protect(PROT_READ | PROT_WRITE);
    }
    fiber.context.begin(fiber.stack.pages, stack_bytes, fiber_main);
    fiber.begun = true;
    if (race_mode) fiber.known_as = __tsan_create_fiber(0);
}

// ---- blocks -------------------------------------------------------------------------------------

// In race mode each block gets new pages, lest ThreadSanitizer take one block's use of its shared
// memory and the next one's for a race.
void prepare_shared() {
    if (race_mode || !shared.pages || shared.bytes != shared_bytes) {
        if (shared.pages) shared.unmap();
        shared = Guarded::map(shared_bytes);
        if (!shared.pages) fail("no memory for a block's shared memory");
        shared.protect(PROT_READ | PROT_WRITE);
        shared.fill();
    }
    std::memset(shared.begin, 0xff, shared_bytes);
}

void run_block() {
    const std::string block =
        "block " + text(indices.block.x, indices.block.y, indices.block.z) + ": ";
    const dim3 n = indices.threads;
    prepare_shared();
    release(block_begin);
    for (unsigned i = 0; i < thread_count; i++) {
        Fiber& fiber = thread(i);
        if (!fiber.begun) begin_fiber(fiber);
        fiber.number = i;
        fiber.index = {i % n.x, i / n.x % n.y, i / (n.x * n.y)};
        fiber.waits = Waits::no;
        fiber.copies.clear();
        ready.push_back(&fiber);
    }
    at_barrier = ended = 0;
    hand_on();
    if (failure.empty() && ended < thread_count) failure = why_stuck();
    if (failure.empty() && !shared.damage().empty())
        failure = "shared memory was written to " + shared.damage();
    if (failure.empty()) return;
    for (unsigned i = 0; i < thread_count; i++) {  // some stopped in the middle
        if (race_mode) __tsan_destroy_fiber(thread(i).known_as);
        thread(i).begun = false;
    }
    turns.clear();
    ready.clear();
    shared.fill();
    fail(block + std::exchange(failure, ""));
}

}  // namespace

// ---- what the header declares -------------------------------------------------------------------

void set_failure_handler(void (*handler)(const std::string&)) { failure_handler = handler; }
void set_seed(uint64_t seed) { order_seed = seed; }

void fail(const std::string& message) {
    if (current != &host) {  // in a thread, which never goes on; the host reports it
        failure = message;
        switch_to(host, true);
    }
    if (failure_handler) failure_handler(message);
    std::fprintf(stderr, "CUDA simulator: %s\n", message.c_str());
    std::abort();
}

void fail_thread(const char* operation, Place place, const std::string& message) {
    const uint3 i = indices.thread;
    fail("thread " + text(i.x, i.y, i.z) + " in " + operation + ", " + text(place) + ": " +
         message);
}

unsigned lane() { return current->number % 32; }

std::vector<Copy>& copies_of_thread() { return current->copies; }
unsigned& groups_of_thread() { return current->groups; }

void* dynamic_shared() { return shared.begin; }

void block_barrier(Place place) {
    Fiber& me = *current;
    me.waits = Waits::barrier;
    me.place = place;
    at_barrier++;
    release(me.came);
    hand_on();
    acquire(me.let_go);
}

void warp_operation(const char* name, unsigned mask, void* operands,
                    void (*compute)(void* const* lanes), Place place) {
    Fiber& me = *current;
    if (!(mask >> lane() & 1)) fail_thread(name, place, "its own lane is not in the mask");
    me.waits = Waits::warp;
    me.place = place;
    me.name = name;
    me.mask = mask;
    me.operands = operands;
    me.compute = compute;
    release(me.came);

    Fiber* these[32];
    void* lanes[32] = {};
    unsigned count = 0;
    bool complete = true;
    for (unsigned i = 0; i < 32 && complete; i++) {
        if (!(mask >> i & 1)) continue;
        const unsigned number = me.number / 32 * 32 + i;
        complete = number < thread_count && same_operation(me, thread(number));
        if (!complete) break;
        these[count++] = &thread(number);
        lanes[i] = thread(number).operands;
    }
    if (complete) let_go(these, count, compute, lanes);
    hand_on();
    acquire(me.let_go);
}

void run(dim3 grid, dim3 block, size_t bytes, void (*call)(void*), void* arguments) {
    static const auto owner = std::this_thread::get_id();
    if (std::this_thread::get_id() != owner) fail("a launch from a second thread of the host");
    if (current != &host) fail("a launch from within a kernel");
    const size_t blocks = size_t(grid.x) * grid.y * grid.z;
    const size_t threads = size_t(block.x) * block.y * block.z;
    const std::string what = "a launch of " + text(grid.x, grid.y, grid.z) + " blocks of " +
                             text(block.x, block.y, block.z) + " threads: ";
    if (blocks == 0 || threads == 0) fail(what + "none");
    if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        fail(what + "a grid has at most (2^31-1,65535,65535) blocks");
    if (threads > most_threads || block.z > 64)
        fail(what + "a block has at most 1024 threads, 64 along z");
    if (bytes > most_shared)
        fail(what + std::to_string(bytes) + " bytes of shared memory; sm_80 has " +
             std::to_string(most_shared));

    const DeviceAccess access;
    thread_count = static_cast<unsigned>(threads);
    thread_call = call;
    thread_arguments = arguments;
    shared_bytes = bytes;
    indices.threads = block;
    indices.blocks = grid;
    for (auto& fibers : sets)
        while (fibers.size() < threads) fibers.push_back(std::make_unique<Fiber>());
    turns.reserve(most_threads);  // by the host: by a fiber it would be reported in race mode
    ready.reserve(most_threads);
    if (race_mode) host.known_as = __tsan_get_current_fiber();

    order_state = order_seed;  // so that a launch does not depend on those before it
    const size_t first = random_below(blocks);
    for (size_t n = 0; n < blocks; n++) {
        const size_t i = (first + n) % blocks;
        indices.block = {unsigned(i % grid.x), unsigned(i / grid.x % grid.y),
                         unsigned(i / grid.x / grid.y)};
        if (race_mode) set = n % 2;
        run_block();
    }
    acquire(grid_end);
    check_device_guards();
}

}  // namespace peri::sim
