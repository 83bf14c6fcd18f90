// One kernel at one shape as a Problem: its arrays by role and its two calls (tests/problems/ holds
// one for every kernel of the contract). In every run it looks whether inputs stay as they were and
// nothing is written outside an array; what a kernel overwrites and its workspace hold NaN on
// entry, what it accumulates random values. On top of that
//   bit_errors           double gives the same bits again
//   conformance_errors   float or bf16 gives double's results, and the same bits again
// All return what is wrong in words, "" when nothing is.
#pragma once

#include <cstddef>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "compare.h"
#include "device.h"
#include "helpers.h"
#include "kernels.h"
#include "random.h"
#include "real.h"

namespace peri {

inline constexpr uint64_t seeds[] = {1, 2, 3};

enum class Stage { given, forward, backward };  // who writes an array: the test, or which call

// An array with a guard band at either end, in the memory of the device where Real lives.
template <class Real>
struct Slot {
    std::string name;
    std::string gradient_of;  // the input whose gradient it is, "" for all others
    Stage stage;
    bool accumulated;              // on entry it holds random values, not NaN
    bool rounded;                  // its entries are of a type narrower than float
    size_t n, terms;               // its length; how many terms are summed into one entry
    Arena<Real> memory;            // guard, entries, guard
    std::vector<std::byte> image;  // what the memory held when last looked at
    std::vector<double> before;    // the entries on entry
    void (*encode)(std::byte*, const std::vector<double>&);
    void (*decode)(std::vector<double>&, const std::byte*);
};

template <class E>
void encode_as(std::byte* to, const std::vector<double>& from) {
    for (const double value : from) {
        const E entry = static_cast<E>(value);
        std::memcpy(to, &entry, sizeof(E));
        to += sizeof(E);
    }
}

template <class E>
void decode_as(std::vector<double>& to, const std::byte* from) {
    for (double& value : to) {
        E entry;
        std::memcpy(&entry, from, sizeof(E));
        value = static_cast<double>(entry);
        from += sizeof(E);
    }
}

template <class Real>
class Problem {
  public:
    static inline const size_t guard = device_alignment();  // bytes
    static constexpr std::byte nan_byte = std::byte(0xff);  // all types' entries of these are NaN

    std::string title;
    std::function<void()> forward, backward;
    double offset = 1;       // magnitude of what accumulated arrays hold on entry
    double least_scale = 1;  // of an output, for the tolerance of against_double

    Problem(const std::string& kernel, std::initializer_list<long> sizes, uint64_t seed)
        : title(kernel + "("), seed_(seed) {
        for (const long size : sizes) title += std::to_string(size) + ",";
        title.back() = ')';
        title += " seed " + std::to_string(seed);
    }

    // ---- building: each returns the device pointer; the gradient of x is named dx

    template <class E = Real>
    E* input(const std::string& name, size_t n) {
        E* const entries = add<E>(name, Stage::given, false, n, 1);
        set(name, random(n, slots_.size(), 1));
        return entries;
    }

    int* integers(const std::string& name, const std::vector<int>& values) {
        int* const entries = add<int>(name, Stage::given, false, values.size(), 1);
        set(name, std::vector<double>(values.begin(), values.end()));
        return entries;
    }

    template <class E = Real>
    E* output(const std::string& name, size_t n, size_t terms) {
        return add<E>(name, Stage::forward, false, n, terms);
    }

    template <class E = Real>
    E* accumulated_output(const std::string& name, size_t n, size_t terms,
                          Stage stage = Stage::forward) {
        return add<E>(name, stage, true, n, terms);
    }

    // The random projection: loss = sum_i dy_i y_i.
    template <class E = Real>
    E* upstream(const std::string& output) {
        projected_ = output;
        return input<E>("d" + output, slot(output).n);
    }

    template <class E = Real>
    E* gradient(const std::string& input, size_t terms) {
        return add<E>("d" + input, Stage::backward, false, slot(input).n, terms, input);
    }

    // n: where the gradient is shorter than the input, whose end is then never read
    template <class E = Accum<Real>>
    E* accumulated_gradient(const std::string& input, size_t terms, size_t n = 0) {
        return add<E>("d" + input, Stage::backward, true, n ? n : slot(input).n, terms, input);
    }

    // So many bytes of workspace are needed. A kernel must not count on what they hold.
    void workspace(size_t bytes) {
        reserve_workspace<Real>(bytes);
        workspace_bytes_ = bytes;
    }

    // ---- running and looking

    // The entries of an array the test gives, from now on.
    void set(const std::string& name, const std::vector<double>& values) {
        load(slot(name), values);
    }

    Problem& run(Stage stage) {
        for (size_t i = 0; i < slots_.size(); i++) {
            Slot<Real>& s = slots_[i];
            if (s.stage != stage) continue;
            load(s, s.accumulated ? random(s.n, 1000 + i, offset) : std::vector<double>(s.n, nan));
        }
        (stage == Stage::forward ? forward : backward)();
        device_synchronize<Real>();
        for (Slot<Real>& s : slots_) inspect(s, s.stage == stage);
        return *this;
    }

    Problem& run() {
        poison_workspace();
        run(Stage::forward);
        return backward ? run(Stage::backward) : *this;
    }

    // What the array holds; what was added to it if it is accumulated.
    std::vector<double> values(const std::string& name) const {
        const Slot<Real>& s = slot(name);
        std::vector<double> result = decode(s);
        if (s.accumulated)
            for (size_t i = 0; i < s.n; i++) result[i] -= s.before[i];
        return result;
    }

    // What the array holds now on the device, where a test has called a kernel itself.
    std::vector<double> device_values(const std::string& name) {
        Slot<Real>& s = slot(name);
        device_synchronize<Real>();
        device_download<Real>(s.image.data(), s.memory.at(), s.image.size());
        return decode(s);
    }

    std::vector<double> before(const std::string& name) const { return slot(name).before; }
    const std::vector<Slot<Real>>& slots() const { return slots_; }
    const std::string& projected() const { return projected_; }
    const std::string& errors() const { return errors_; }

    template <class E = Real>
    E* at(const std::string& name) const {
        return slot(name).memory.template at<E>(guard);
    }

    const Slot<Real>& slot(const std::string& name) const {
        for (const Slot<Real>& s : slots_)
            if (s.name == name) return s;
        throw std::runtime_error(title + " has no array " + name);
    }
    Slot<Real>& slot(const std::string& name) {
        return const_cast<Slot<Real>&>(static_cast<const Problem&>(*this).slot(name));
    }

  private:
    static constexpr double nan = std::numeric_limits<double>::quiet_NaN();

    template <class E>
    E* add(const std::string& name, Stage stage, bool accumulated, size_t n, size_t terms,
           const std::string& gradient_of = "") {
        const size_t bytes = n * sizeof(E) + 2 * guard;
        slots_.push_back({name, gradient_of, stage, accumulated, (sizeof(E) < sizeof(float)), n,
                          terms, Arena<Real>(bytes), std::vector<std::byte>(bytes),
                          std::vector<double>(n), encode_as<E>, decode_as<E>});
        load(slots_.back(), std::vector<double>(n, 0.0));
        return at<E>(name);
    }

    // Either sign, magnitude in [0.5, 1.5]: far from relu's kink and from norms that vanish.
    // Rounded to bf16, so that double, float, bf16 and fp16 see the same numbers.
    std::vector<double> random(size_t n, size_t stream, double magnitude) const {
        Rng rng(seed_, stream);
        std::vector<double> result(n);
        for (double& value : result) {
            const double sign = rng.below(2) ? 1 : -1;
            value = bf16(static_cast<float>(magnitude * sign * (0.5 + rng.uniform())));
        }
        return result;
    }

    // A kernel that reads a guard shows it by a NaN in its results. What it makes of an input's
    // guard and writes into another one must not equal what was there: NaN keep their bits in sums
    // and products. So outputs have another NaN, and accumulated arrays a number.
    static void fill_guards(Slot<Real>& s) {
        const bool given = s.stage == Stage::given;
        for (size_t i = 0; i < s.image.size(); i++)
            s.image[i] = s.accumulated         ? std::byte(0x5a)
                         : given || i % 2 == 1 ? nan_byte
                                               : std::byte(0xf5);
    }

    void load(Slot<Real>& s, const std::vector<double>& values) {
        if (values.size() != s.n) throw std::runtime_error(title + ": length of " + s.name);
        s.before = values;
        fill_guards(s);
        s.encode(s.image.data() + guard, values);
        device_upload<Real>(s.memory.at(), s.image.data(), s.image.size());
    }

    static std::vector<double> decode(const Slot<Real>& s) {
        std::vector<double> result(s.n);
        s.decode(result, s.image.data() + guard);
        return result;
    }

    void inspect(Slot<Real>& s, bool may_be_written) {
        std::vector<std::byte> now(s.image.size());
        device_download<Real>(now.data(), s.memory.at(), now.size());
        const auto same = [&](size_t from, size_t to) {
            return std::equal(now.begin() + from, now.begin() + to, s.image.begin() + from);
        };
        if (!same(0, guard) || !same(now.size() - guard, now.size()))
            errors_ += title + ": written outside " + s.name + "\n";
        if (!may_be_written && !same(guard, now.size() - guard))
            errors_ += title + ": " + s.name + " was changed\n";
        s.image.swap(now);
    }

    void poison_workspace() const {
        const std::string ones(workspace_bytes_, static_cast<char>(nan_byte));
        if (!ones.empty())
            device_upload<Real>(peri::workspace<Real>(ones.size()), ones.data(), ones.size());
    }

    uint64_t seed_;
    std::vector<Slot<Real>> slots_;
    size_t workspace_bytes_ = 0;
    std::string projected_, errors_;
};

// What a kernel that may work in place is given as both: to = from, where Real lives.
template <class Real, class E>
void copy(E* to, const E* from, size_t n) {
    std::vector<E> values(n);
    device_synchronize<Real>();
    device_download<Real>(values.data(), from, n * sizeof(E));
    device_upload<Real>(to, values.data(), n * sizeof(E));
}

// By array: how many roundings to the narrow type lie on the way from the inputs to it, its own included. Arrays
// that are not named have their own alone: one where they are stored so, none elsewhere.
using Roundings = std::map<std::string, int>;

// Of two problems that have run: |narrow - double| <= k epsilon sqrt(terms) scale, scale being the
// largest entry of the tensor (or of what it held on entry): rounding errors of a sum grow like the
// root of its length. On top of it an array's own rounding, which depends on the entry alone, and for each
// rounding before that of scale (bf16: 2^-8 of it), its worst case, twice: halved it must still hold.
template <class Real>
std::string against_double(const Problem<Real>& narrow, const Problem<double>& wide, double k,
                           const Roundings& roundings) {
    std::string errors;
    for (const Slot<double>& s : wide.slots()) {
        if (s.stage == Stage::given) continue;
        const std::vector<double> expected = wide.values(s.name);
        double scale = std::max(largest(expected), wide.least_scale);
        if (s.accumulated) scale = std::max(scale, largest(s.before));
        const bool rounded = narrow.slot(s.name).rounded;
        const auto named = roundings.find(s.name);
        const int all = named == roundings.end() ? rounded : named->second;
        const int own = rounded && all > 0;
        const double epsilon = std::numeric_limits<float>::epsilon();
        const double before_own = k * epsilon * std::sqrt(static_cast<double>(s.terms)) * scale +
                                  2 * (all - own) * worst_rounding<Real> * std::max(scale, 0x1p-14);
        std::vector<double> tolerance(s.n, before_own);
        if (own)
            for (size_t i = 0; i < s.n; i++)
                tolerance[i] += of_format(
                    narrow_rounding<Real>(expected[i] + (s.accumulated ? s.before[i] : 0)));
        const std::string wrong = difference(narrow.values(s.name), expected, tolerance);
        if (wrong != "") errors += narrow.title + " against double " + s.name + " " + wrong + "\n";
    }
    return errors;
}

// Of two problems made alike that have run.
template <class Real>
std::string differing_bits(const Problem<Real>& again, const Problem<Real>& once) {
    std::string errors;
    for (const Slot<Real>& s : once.slots()) {
        if (s.stage == Stage::given) continue;
        const std::string wrong = bit_difference(again.values(s.name), once.values(s.name));
        if (wrong != "")
            errors += once.title + " on " + std::to_string(get_threads()) + " threads, " + s.name +
                      " " + wrong + "\n";
    }
    return errors;
}

// Double gives the same bits twice; make() returns a fresh problem.
template <class Make>
std::string bit_errors(Make make) {
    std::string errors;
    for (const int threads : {1, 2}) {
        const Threads only(threads);
        Problem<double> once = make(), again = make();
        once.run();
        again.run();
        errors += differing_bits(again, once);
    }
    return errors;
}

namespace sim {
// The order in which the simulator's threads take turns; null in a program without a simulator.
[[gnu::weak]] void set_seed(uint64_t seed);
}  // namespace sim

// What the contract asks of the backend's Real = float or bf16: double's results within the tolerance
// of against_double, and the same bits again, on one thread of the CPU and on two, and in whatever
// order the threads of a simulated GPU take turns. make(Real()) returns a fresh problem of type Real.
template <class Real, class Make>
std::string conformance_errors(Make make, double k, const Roundings& roundings = {}) {
    const bool cpu = std::string(backend_name()) == "cpu";
    Problem<double> wide = make(double());
    wide.run();
    std::string errors = wide.errors();
    for (const int threads : cpu ? std::vector<int>{1, 2} : std::vector<int>{1}) {
        const Threads only(threads);
        Problem<Real> once = make(Real(0.0f)), again = make(Real(0.0f));
        once.run();
        if (sim::set_seed) sim::set_seed(2);
        again.run();
        if (sim::set_seed) sim::set_seed(1);
        errors += once.errors() + against_double(once, wide, k, roundings);
        errors += again.errors() + differing_bits(again, once);
    }
    return errors;
}

}  // namespace peri
