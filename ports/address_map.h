// Addresses for memory that is reached by handles. The contract passes pointers and adds to them; a backend whose
// memory is an object of a library (OpenCL's cl_mem, Metal's MTLBuffer, Vulkan's VkBuffer) hands out addresses behind
// which there is no memory, and finds an address's object and offset again when a kernel is started. Whoever reads or
// writes there on the host is stopped by the system.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <map>

namespace peri {

template <class Handle>
class AddressMap {
  public:
    struct Place {
        Handle handle;
        size_t offset;  // bytes from the handle's beginning
    };

    // So many bytes of addresses, page by page, for the handle's memory; null: there are no more.
    void* reserve(size_t bytes, Handle handle) {
        const size_t all = pages(bytes);
        void* const begin =
            mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (begin == MAP_FAILED) return nullptr;
        const auto address = reinterpret_cast<uintptr_t>(begin);
        map_[address] = {address + bytes, handle};
        return begin;
    }

    // Where the address lies; false: in nothing that was reserved.
    bool find(Place& place, const void* pointer) const {
        const auto address = reinterpret_cast<uintptr_t>(pointer);
        auto next = map_.upper_bound(address);
        if (next == map_.begin()) return false;
        const auto& [begin, interval] = *--next;
        if (address >= interval.end) return false;
        place = {interval.handle, address - begin};
        return true;
    }

    // Takes back what reserve gave out.
    void release(void* begin) {
        const auto found = map_.find(reinterpret_cast<uintptr_t>(begin));
        munmap(begin, pages(found->second.end - found->first));
        map_.erase(found);
    }

  private:
    struct Interval {
        uintptr_t end;
        Handle handle;
    };
    std::map<uintptr_t, Interval> map_;  // by first address

    // with one page more, so that the end of one interval is not the beginning of another
    static size_t pages(size_t bytes) {
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        return (bytes / page + 2) * page;
    }
};

}  // namespace peri
