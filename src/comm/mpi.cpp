// The contract of comm.h over MPI. All of it is made of messages between two ranks that never block, so
// that the order of sums is ours, and that a rank which waits can look at the clock and hear that
// another one has ended. Memory is the host's: the backend is the CPU's, or a simulated one.
#define OMPI_SKIP_MPICXX  // their C++ bindings, long gone from the standard, warn
#define MPICH_SKIP_MPICXX
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "check.h"
#include "comm.h"
#include "device.h"
#include "tree.h"

namespace peri::comm {

namespace {

enum Tag { data_tag = 1, failure_tag = 2 };

int this_rank = 0, ranks = 1, ranks_here = 1, rank_here = 0;  // here: on this host
double patience = 300;                                        // seconds

struct Failure {
    int rank = -1;  // -1: none
    std::string why;
};

// The next that has been heard of.
Failure failure() {
    int arrived = 0, length = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, failure_tag, MPI_COMM_WORLD, &arrived, &status);
    if (!arrived) return {};
    MPI_Get_count(&status, MPI_CHAR, &length);
    Failure f = {status.MPI_SOURCE, std::string(length, '\0')};
    MPI_Recv(f.why.data(), length, MPI_CHAR, f.rank, failure_tag, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    return f;
}

// Messages on their way. All of them have the same tag: between two ranks they arrive in the order in
// which they were sent, and every rank calls the same functions.
class Messages {
  public:
    Messages() = default;
    Messages(const Messages&) = delete;
    Messages& operator=(const Messages&) = delete;
    ~Messages() {  // some are left where wait has thrown
        for (MPI_Request& request : requests_) {
            if (request == MPI_REQUEST_NULL) continue;
            MPI_Cancel(&request);
            MPI_Request_free(&request);
        }
    }

    void send(int to, const void* from, size_t bytes) {
        for_pieces(bytes, [&](size_t offset, int length) {
            MPI_Isend(static_cast<const char*>(from) + offset, length, MPI_BYTE, to, data_tag,
                      MPI_COMM_WORLD, next(to));
        });
    }
    void receive(int from, void* to, size_t bytes) {
        for_pieces(bytes, [&](size_t offset, int length) {
            MPI_Irecv(static_cast<char*>(to) + offset, length, MPI_BYTE, from, data_tag,
                      MPI_COMM_WORLD, next(from));
        });
    }

    // Returns when all have arrived.
    void wait() {
        using Clock = std::chrono::steady_clock;
        const Clock::time_point start = Clock::now();
        for (int tries = 0;; tries++) {
            int done = 0;
            MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done,
                        MPI_STATUSES_IGNORE);
            if (done) break;
            if (const Failure f = failure(); f.rank >= 0) throw Ended(f.why);
            if (std::chrono::duration<double>(Clock::now() - start).count() > patience) give_up();
            if (tries < 1000)
                std::this_thread::yield();
            else
                std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
        requests_.clear();
        others_.clear();
    }

  private:
    // MPI counts in int.
    template <class Use>
    static void for_pieces(size_t bytes, Use&& use) {
        constexpr size_t most = size_t(1) << 30;
        for (size_t offset = 0; offset < bytes; offset += most)
            use(offset, static_cast<int>(std::min(most, bytes - offset)));
    }

    MPI_Request* next(int other) {
        others_.push_back(other);
        requests_.push_back(MPI_REQUEST_NULL);
        return &requests_.back();
    }

    [[noreturn]] void give_up() {
        for (size_t i = 0; i < requests_.size(); i++) {
            int done = 0;
            MPI_Test(&requests_[i], &done, MPI_STATUS_IGNORE);
            if (done) continue;
            char text[160];
            std::snprintf(
                text, sizeof text,
                "rank %d has not answered for %g s: see whether its process is stopped or "
                "its host is gone, or give a longer --patience",
                others_[i], patience);
            throw UserError(text);
        }
        throw UserError("a message arrived too late: give a longer --patience");
    }

    std::vector<MPI_Request> requests_;
    std::vector<int> others_;  // with whom, by request
};

// An equal share of this host's cores, whatever core the launcher has bound the process to.
void take_cores() {
#ifdef __linux__
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < ranks_here) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (long c = cores * rank_here / ranks_here; c < cores * (rank_here + 1) / ranks_here; c++)
        CPU_SET(static_cast<int>(c), &set);
    sched_setaffinity(0, sizeof set,
                      &set);  // where that is not allowed, the launcher's binding stays
#endif
}

}  // namespace

Session::Session() {
    MPI_Init(nullptr, nullptr);
    MPI_Comm_rank(MPI_COMM_WORLD, &this_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm host;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &rank_here);
    MPI_Comm_size(host, &ranks_here);
    MPI_Comm_free(&host);
    take_cores();
    if (this_rank > 0 && !std::freopen("/dev/null", "w", stdout)) std::abort();
}

Session::~Session() {
    std::fflush(nullptr);
    // MPI_Finalize waits for the others, of which one may be gone.
    std::thread([] {
        std::this_thread::sleep_for(std::chrono::seconds(10));
        MPI_Abort(MPI_COMM_WORLD, 2);
    }).detach();
    MPI_Finalize();
}

bool Session::fail(const std::string& why) {
    for (int other = 0; other < ranks; other++) {
        MPI_Request request;
        if (other != this_rank)
            MPI_Isend(why.data(), static_cast<int>(why.size()), MPI_CHAR, other, failure_tag,
                      MPI_COMM_WORLD, &request);
    }
    for (int tries = 0; this_rank > 0 && tries < 30; tries++) {
        const Failure f = failure();
        if (f.rank >= 0 && f.rank < this_rank && f.why == why) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
}

int rank() { return this_rank; }
int size() { return ranks; }
int threads() { return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) / ranks_here); }
void set_patience(double seconds) { patience = seconds; }

template <class Real>
void reduce_scatter(Accum<Real>* numbers, const Bounds& bounds) {
    using A = Accum<Real>;
    constexpr size_t most = size_t(1) << 18;  // numbers at once from each rank
    const size_t mine = bounds[this_rank + 1] - bounds[this_rank];
    std::vector<std::vector<A>> theirs(ranks);
    for (int r = 0; r < ranks; r++)
        if (r != this_rank) theirs[r].resize(std::min(most, mine));
    size_t longest = 0;
    for (int r = 0; r < ranks; r++) longest = std::max(longest, bounds[r + 1] - bounds[r]);

    for (size_t offset = 0; offset < longest; offset += most) {
        const auto length = [&](int r) {
            const size_t piece = bounds[r + 1] - bounds[r];
            return offset < piece ? std::min(most, piece - offset) : 0;
        };
        const size_t n = length(this_rank);
        Messages messages;
        for (int r = 0; r < ranks; r++) {
            if (r == this_rank) continue;
            messages.send(r, numbers + bounds[r] + offset, length(r) * sizeof(A));
            messages.receive(r, theirs[r].data(), n * sizeof(A));
        }
        messages.wait();
        A* const own = numbers + bounds[this_rank] + offset;
        const auto part = [&](size_t r) { return int(r) == this_rank ? own : theirs[r].data(); };
        add_in_tree(0, ranks, [&](size_t i, size_t j) {
            A *const to = part(i), *const from = part(j);
#pragma omp parallel for simd schedule(static)
            for (size_t k = 0; k < n; k++) to[k] += from[k];
        });
        if (this_rank > 0) std::copy_n(part(0), n, own);
    }
}

template <class Real>
void all_gather(void* memory, const Bounds& bounds) {
    char* const bytes = static_cast<char*>(memory);
    Messages messages;
    for (int r = 0; r < ranks; r++) {
        if (r == this_rank) continue;
        messages.send(r, bytes + bounds[this_rank], bounds[this_rank + 1] - bounds[this_rank]);
        messages.receive(r, bytes + bounds[r], bounds[r + 1] - bounds[r]);
    }
    messages.wait();
}

template <class Real>
std::vector<char> gather(const void* piece, const Bounds& bounds) {
    Messages messages;
    std::vector<char> all;
    const size_t mine = bounds[this_rank + 1] - bounds[this_rank];
    if (this_rank > 0) {
        messages.send(0, piece, mine);
    } else {
        all.resize(bounds.back());
        std::memcpy(all.data() + bounds[0], piece, mine);
        for (int r = 1; r < ranks; r++)
            messages.receive(r, all.data() + bounds[r], bounds[r + 1] - bounds[r]);
    }
    messages.wait();
    return all;
}

std::vector<std::vector<double>> exchange(const std::vector<double>& mine) {
    std::vector<std::vector<double>> all(ranks, mine);
    Messages messages;
    for (int r = 0; r < ranks; r++) {
        if (r == this_rank) continue;
        messages.send(r, mine.data(), mine.size() * sizeof(double));
        messages.receive(r, all[r].data(), mine.size() * sizeof(double));
    }
    messages.wait();
    return all;
}

std::string from_first(const std::string& mine) {
    std::string text(static_cast<size_t>(exchange({double(mine.size())})[0][0]), '\0');
    Messages messages;
    if (this_rank > 0) {
        messages.receive(0, text.data(), text.size());
    } else {
        text = mine;
        for (int r = 1; r < ranks; r++) messages.send(r, text.data(), text.size());
    }
    messages.wait();
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
#undef INSTANTIATE

}  // namespace peri::comm
