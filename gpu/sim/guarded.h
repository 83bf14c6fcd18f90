// Memory between guards: bytes before and behind it that nobody may write to, up to the ends of its
// pages, and then a page on each side that is always out of reach.
#pragma once

#include <cuda_runtime.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

namespace peri::sim {

inline const size_t page = sysconf(_SC_PAGESIZE);
constexpr size_t most_shared = 163 * 1024;  // what a block may ask for on sm_80

// The whole pages of so many bytes.
inline void protect_pages(void* begin, size_t bytes, int protection) {
    const size_t first = reinterpret_cast<size_t>(begin);
    const size_t from = (first + page - 1) / page * page, to = (first + bytes) / page * page;
    if (from < to && mprotect(reinterpret_cast<void*>(from), to - from, protection) != 0)
        fail("mprotect failed");
}

struct Guarded {
    char* pages = nullptr;
    size_t page_bytes = 0;
    char* begin = nullptr;
    size_t bytes = 0;

    // As bf16, fp16, float and double alike a guard is a NaN, and another one than new memory's.
    static char guard(size_t i) { return static_cast<char>(i % 2 ? 0xff : 0xf5); }

    // Aligned to 256 bytes, and out of reach at first; pages stays null where the system has none.
    static Guarded map(size_t bytes) {
        const size_t tail = bytes / 256 * 256 + 256, pages = (tail + page - 1) / page * page;
        void* const mapped = mmap(nullptr, page + pages + page, PROT_NONE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED) return {};
        char* const first = static_cast<char*>(mapped) + page;
        return {first, pages, first + pages - tail, bytes};
    }
    void unmap() const { munmap(pages - page, page + page_bytes + page); }
    void protect(int protection) const { protect_pages(pages, page_bytes, protection); }
    void fill() const {
        for (size_t i = 0; i < page_bytes; i++) pages[i] = guard(i);
        std::memset(begin, 0xff, bytes);
    }
    // which guard was written to, in words; "" if none was
    std::string damage() const {
        const size_t first = begin - pages, end = first + bytes;
        for (size_t i = 0; i < page_bytes; i++) {
            if (i == first) i = end;
            if (pages[i] == guard(i)) continue;
            return (i < first ? std::to_string(first - i) + " bytes before the begin"
                              : std::to_string(i - end) + " bytes behind the end") +
                   " of " + std::to_string(bytes) + " bytes";
        }
        return "";
    }
};

}  // namespace peri::sim
