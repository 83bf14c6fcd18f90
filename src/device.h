// Memory of the compute device. double, the oracle, always lives in host memory and is computed by
// src/cpu; float, bf16 and fp16 live where the backend that was linked keeps them. Pointers to them are
// addresses that nobody but the backend looks behind: the host never reads or writes there, and all it does
// with them are sums that stay within one allocation. So a backend may give out what is no memory at all
// (ports/address_map.h).
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace peri {

// The backend that computes float, bf16 and fp16: "cpu" here.
const char* backend_name();

// One line for the user: which library and core compute the products, on how many threads.
std::string backend_description();

// The host's processor, as the system names it; "" where it does not.
std::string processor_name();

// Threads for every kernel from now on; n >= 1.
void set_threads(int n);
int get_threads();

// Whether the host takes a float below 1.2e-38 (subnormal) for 0 from now on: some processors compute with them
// at a tenth of their speed or less, and where gradients vanish there are many. It holds for the calling thread and
// those that it starts afterwards; so a program calls it first. Does nothing where the processor knows no such thing.
void set_flush_subnormals(bool on);
#if defined __SSE__ || defined __aarch64__
constexpr bool flushes_subnormals = true;
#else
constexpr bool flushes_subnormals = false;
#endif

// Whether products of float are computed in tf32 from now on: inputs rounded to 10 bits of
// fraction, sums in fp32. Throws UserError where the backend has no tf32.
void set_tf32(bool on);
bool get_tf32();

// Who computes attention of bf16 from now on: this project's own kernels (tiles), or a library where it
// takes the shape and the own kernels elsewhere; automatic leaves it to the backend. A library's
// workspace may be larger (attention_workspace). Throws UserError where the backend has no library.
enum class AttentionBy { automatic, tiles, library };
void set_attention(AttentionBy by);

// What linear_tune and head_loss_tune (kernels.h) have chosen, as lines of text to be saved with a
// run and set again when it goes on. set_backend_choices returns the first line that it cannot
// follow, "" if there is none.
std::string backend_choices();
std::string set_backend_choices(const std::string& lines);

// Whether float's memory is the host's, out of which double's comes too.
bool device_memory_is_host();

// Arrays that share an allocation begin on multiples of so many bytes: 64, or a power of two above it that
// the device needs. Inside of an array kernels are given any place.
size_t device_alignment();

// All sizes are bytes, and 0 is nothing to do. Allocation is zeroed and aligned as device_alignment says; where
// there is not enough memory it throws OutOfMemory (check.h). device_free takes null. When an upload returns, the
// host's array may change; when a download does, all that was asked for before it is done.
template <class Real>
void* device_allocate(size_t bytes);
template <class Real>
void device_free(void* memory);
template <class Real>
void device_upload(void* device, const void* host, size_t bytes);
template <class Real>
void device_download(void* host, const void* device, size_t bytes);
template <class Real>
void device_copy(void* to, const void* from, size_t bytes);  // both on the device
template <class Real>
void device_zero(void* device, size_t bytes);
template <class Real>
void device_synchronize();

// Mark `number`, of 0, 1, ...: when the device will have done what it was asked for so far, by its own
// clock. The seconds from one mark to a later one, for which it is waited.
template <class Real>
void device_mark(size_t number);
template <class Real>
double device_seconds(size_t from, size_t to);

// n numbers of any type that lie where Real lives, as double on the host.
template <class Real, class Number>
std::vector<double> download_as_double(const Number* device, size_t n) {
    std::vector<Number> numbers(n);
    device_download<Real>(numbers.data(), device, n * sizeof(Number));
    return {numbers.begin(), numbers.end()};
}

// Bytes that can still be allocated where Real lives; 0: not known.
template <class Real>
size_t device_memory_left();

// The most bytes this process has held where Real lives, or, where the backend keeps no count of that,
// all that are taken there now; 0: not known.
template <class Real>
size_t device_memory_used();

// The one workspace all kernels share, sized once (the largest *_workspace of kernels.h) before any
// kernel runs. Reserving less than there is changes nothing.
template <class Real>
void reserve_workspace(size_t bytes);
template <class Real>
void* workspace(size_t bytes);

// Bytes up to where the next array of an allocation may begin.
inline size_t device_aligned(size_t bytes) {
    return (bytes + device_alignment() - 1) / device_alignment() * device_alignment();
}

// Hands out consecutive pieces of one allocation, each aligned; with base null it only counts.
class Slicer {
  public:
    explicit Slicer(void* base) : base_(static_cast<char*>(base)) {}

    template <class U>
    U* take(size_t numbers) {
        U* const piece = base_ ? reinterpret_cast<U*>(base_ + used_) : nullptr;
        used_ += device_aligned(numbers * sizeof(U));
        return piece;
    }
    template <class U>
    U* take_if(bool wanted, size_t numbers) {
        return wanted ? take<U>(numbers) : nullptr;
    }
    size_t used() const { return used_; }  // bytes

  private:
    char* base_;
    size_t used_ = 0;
};

// One allocation on the device where Real lives; views into it are taken by offset.
template <class Real>
class Arena {
  public:
    explicit Arena(size_t bytes = 0)
        : memory_(bytes ? device_allocate<Real>(bytes) : nullptr), bytes_(bytes) {}
    ~Arena() { device_free<Real>(memory_); }
    Arena(Arena&& other) noexcept : memory_(other.memory_), bytes_(other.bytes_) {
        other.memory_ = nullptr;
        other.bytes_ = 0;
    }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    Arena& operator=(Arena&&) = delete;

    template <class U = Real>
    U* at(size_t offset_in_bytes = 0) const {
        return reinterpret_cast<U*>(static_cast<char*>(memory_) + offset_in_bytes);
    }
    size_t bytes() const { return bytes_; }
    void swap(Arena& other) {
        std::swap(memory_, other.memory_);
        std::swap(bytes_, other.bytes_);
    }
    void zero() { device_zero<Real>(memory_, bytes_); }

  private:
    void* memory_;
    size_t bytes_;
};

}  // namespace peri
