// The collectives of comm.h, made of transfers between two ranks, so that the order of sums is ours and
// not a library's.
#include <algorithm>
#include <bit>

#include "comm.h"
#include "comm/transfers.h"
#include "device.h"
#include "kernels.h"
#include "tree.h"

namespace peri::comm {

template <class Real>
void reduce_scatter(Accum<Real>* numbers, const Bounds& bounds) {
    using A = Accum<Real>;
    constexpr size_t most = reduced_at_once;
    const int ranks = size(), me = rank();
    if (ranks == 1) return;
    const size_t bytes = reduce_scatter_workspace<Real>(ranks);
    reserve_workspace<Real>(bytes);
    A* const theirs = static_cast<A*>(workspace<Real>(bytes));
    size_t longest = 0;
    for (int r = 0; r < ranks; r++) longest = std::max(longest, bounds[r + 1] - bounds[r]);

    for (size_t offset = 0; offset < longest; offset += most) {
        const auto length = [&](int r) {
            const size_t piece = bounds[r + 1] - bounds[r];
            return offset < piece ? std::min(most, piece - offset) : 0;
        };
        const size_t n = length(me);
        const std::unique_ptr<Transfers> parts = transfers<Real>();
        for (int r = 0; r < ranks; r++) {
            if (r == me) continue;
            parts->send(r, numbers + bounds[r] + offset, length(r) * sizeof(A));
            parts->receive(r, theirs + r * most, n * sizeof(A));
        }
        parts->wait();
        if (n == 0) continue;
        A* const own = numbers + bounds[me] + offset;
        const auto part = [&](size_t r) { return int(r) == me ? own : theirs + r * most; };
        const size_t half = std::bit_floor(size_t(ranks - 1));  // where the tree's root divides
        add_in_tree(0, ranks, [&](size_t i, size_t j) {
            A* const sum = i == 0 && j == half ? own : part(i);
            residual_add<A>(sum, part(i), part(j), 1, n);
        });
    }
}

template <class Real>
void all_gather(void* memory, const Bounds& bounds) {
    char* const bytes = static_cast<char*>(memory);
    const int me = rank();
    const std::unique_ptr<Transfers> pieces = transfers<Real>();
    for (int r = 0; r < size(); r++) {
        if (r == me) continue;
        pieces->send(r, bytes + bounds[me], bounds[me + 1] - bounds[me]);
        pieces->receive(r, bytes + bounds[r], bounds[r + 1] - bounds[r]);
    }
    pieces->wait();
}

// ---- between hosts ------------------------------------------------------------------------------

template <class Real>
std::vector<char> gather(const void* piece, const Bounds& bounds) {
    std::vector<char> mine(bounds[rank() + 1] - bounds[rank()]), all;
    device_download<Real>(mine.data(), piece, mine.size());
    const std::unique_ptr<Transfers> pieces = transfers<double>();
    if (rank() > 0) {
        pieces->send(0, mine.data(), mine.size());
    } else {
        all.resize(bounds.back());
        std::copy(mine.begin(), mine.end(), all.begin() + bounds[0]);
        for (int r = 1; r < size(); r++)
            pieces->receive(r, all.data() + bounds[r], bounds[r + 1] - bounds[r]);
    }
    pieces->wait();
    return all;
}

std::vector<std::vector<double>> exchange(const std::vector<double>& mine) {
    std::vector<std::vector<double>> all(size(), mine);
    const std::unique_ptr<Transfers> messages = transfers<double>();
    for (int r = 0; r < size(); r++) {
        if (r == rank()) continue;
        messages->send(r, mine.data(), mine.size() * sizeof(double));
        messages->receive(r, all[r].data(), mine.size() * sizeof(double));
    }
    messages->wait();
    return all;
}

std::string from_first(const std::string& mine) {
    std::string text(static_cast<size_t>(exchange({double(mine.size())})[0][0]), '\0');
    const std::unique_ptr<Transfers> messages = transfers<double>();
    if (rank() > 0) {
        messages->receive(0, text.data(), text.size());
    } else {
        text = mine;
        for (int r = 1; r < size(); r++) messages->send(r, text.data(), text.size());
    }
    messages->wait();
    return text;
}

double sum(double mine) {
    std::vector<std::vector<double>> all = exchange({mine});
    add_in_tree(0, all.size(), [&](size_t i, size_t j) { all[i][0] += all[j][0]; });
    return all[0][0];
}

double largest(double mine) {
    for (const std::vector<double>& one : exchange({mine})) mine = std::max(mine, one[0]);
    return mine;
}

#define INSTANTIATE(Real)                                            \
    template void reduce_scatter<Real>(Accum<Real>*, const Bounds&); \
    template void all_gather<Real>(void*, const Bounds&);            \
    template std::vector<char> gather<Real>(const void*, const Bounds&);
INSTANTIATE(double)
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri::comm
