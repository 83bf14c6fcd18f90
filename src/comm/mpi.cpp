// Ranks over MPI: who they are, what one that ends tells the others, and transfers between hosts. None
// of these calls blocks, so that a rank which waits can look at the clock and hear that another one has
// ended.
#define OMPI_SKIP_MPICXX  // their C++ bindings, long gone from the standard, warn
#define MPICH_SKIP_MPICXX
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.h"
#include "comm.h"
#include "comm/transfers.h"
#include "real.h"

namespace peri::comm {

namespace {

enum Tag { data_tag = 1, failure_tag = 2 };

int this_rank = 0, ranks = 1, rank_here = 0, ranks_here = 1;  // here: on this machine
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

// All messages have the same tag: between two ranks they arrive in the order in which they were sent.
class Messages : public Transfers {
  public:
    Messages() = default;
    Messages(const Messages&) = delete;
    Messages& operator=(const Messages&) = delete;
    ~Messages() override {  // some are left where wait has thrown
        for (MPI_Request& request : requests_) {
            if (request == MPI_REQUEST_NULL) continue;
            MPI_Cancel(&request);
            MPI_Request_free(&request);
        }
    }

    void send(int to, const void* from, size_t bytes) override {
        for_pieces(bytes, [&](size_t offset, int length) {
            MPI_Isend(static_cast<const char*>(from) + offset, length, MPI_BYTE, to, data_tag,
                      MPI_COMM_WORLD, next(to));
        });
    }
    void receive(int from, void* to, size_t bytes) override {
        for_pieces(bytes, [&](size_t offset, int length) {
            MPI_Irecv(static_cast<char*>(to) + offset, length, MPI_BYTE, from, data_tag,
                      MPI_COMM_WORLD, next(from));
        });
    }
    void wait() override {
        const auto arrived = [&] {
            int done = 0;
            MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done,
                        MPI_STATUSES_IGNORE);
            return done != 0;
        };
        wait_until(arrived, [&] { return missing(); });
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

    // Who has not answered.
    std::string missing() {
        for (size_t i = 0; i < requests_.size(); i++) {
            int done = 0;
            MPI_Test(&requests_[i], &done, MPI_STATUS_IGNORE);
            if (!done) return "rank " + std::to_string(others_[i]);
        }
        return "a rank";  // it has answered just now
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
int local_rank() { return rank_here; }
int local_size() { return ranks_here; }
int threads() { return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) / ranks_here); }
void set_patience(double seconds) { patience = seconds; }

void wait_until(const std::function<bool()>& done, const std::function<std::string()>& missing) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    for (int tries = 0; !done(); tries++) {
        if (const Failure f = failure(); f.rank >= 0) throw Ended(f.why);
        if (std::chrono::duration<double>(Clock::now() - start).count() > patience) {
            char text[200];
            std::snprintf(text, sizeof text,
                          "%s has not answered for %g s: see whether its process is stopped or its "
                          "host is gone, or give a longer --patience",
                          missing().c_str(), patience);
            throw UserError(text);
        }
        if (tries < 1000)
            std::this_thread::yield();
        else
            std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
}

template <class Real>
std::unique_ptr<Transfers> transfers() {
    return std::make_unique<Messages>();
}

template std::unique_ptr<Transfers> transfers<double>();
#ifndef BACKEND_ELSEWHERE
template std::unique_ptr<Transfers> transfers<float>();
template std::unique_ptr<Transfers> transfers<bf16>();
template std::unique_ptr<Transfers> transfers<fp16>();
#endif

}  // namespace peri::comm
