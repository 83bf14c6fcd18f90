// NCCL's transfers as messages of MPI. What is sent is copied when the group ends, and what arrives lies
// beside the device's memory until its stream is waited for: whoever reads it earlier reads what was
// there before, or dies of SIGSEGV.
#include <nccl.h>

#define OMPI_SKIP_MPICXX
#define MPICH_SKIP_MPICXX
#include <mpi.h>

#include <cstring>
#include <memory>

struct ncclComm {
    MPI_Comm mpi;
    int ranks, rank;
};

namespace {

struct Part {
    bool received;
    void* memory;
    size_t bytes;
    int peer;
    std::vector<char> copy;
};

// What was said between ncclGroupStart and ncclGroupEnd.
struct Group {
    std::vector<Part> parts;
    std::vector<MPI_Request> requests;
    cudaStream_t stream = nullptr;
};
std::shared_ptr<Group> group;
ncclComm* current = nullptr;

ncclResult_t add(bool received, void* memory, size_t bytes, int peer, ncclComm_t comm,
                 cudaStream_t stream) {
    if (!group) peri::sim::fail("ncclSend or ncclRecv outside a group");
    if (bytes == 0 || peer < 0 || peer >= comm->ranks || peer == comm->rank)
        return ncclInvalidArgument;
    if (!group->parts.empty() && group->stream != stream)
        peri::sim::fail("a group of NCCL on two streams");
    peri::sim::check_device_range(received ? "the memory of ncclRecv" : "the memory of ncclSend",
                                  memory, bytes);
    group->stream = stream;
    group->parts.push_back({received, memory, bytes, peer, std::vector<char>(bytes)});
    return ncclSuccess;
}

}  // namespace

const char* ncclGetErrorString(ncclResult_t result) {
    return result == ncclInvalidArgument ? "invalid argument" : "no error";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
    std::memset(id->internal, 'n', sizeof id->internal);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank) {
    for (const char c : id.internal)
        if (c != 'n') return ncclInvalidArgument;  // not what rank 0 was given
    static ncclComm made;
    made = {MPI_COMM_NULL, ranks, rank};
    MPI_Comm_dup(MPI_COMM_WORLD, &made.mpi);
    *comm = current = &made;
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* result) {
    *result = ncclSuccess;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t) { return ncclSuccess; }

ncclResult_t ncclGroupStart() {
    if (group) peri::sim::fail("a group of NCCL within a group");
    group = std::make_shared<Group>();
    return ncclSuccess;
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
    return add(false, const_cast<void*>(from), count, peer, comm, stream);
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
    return add(true, to, count, peer, comm, stream);
}

ncclResult_t ncclGroupEnd() {
    if (!group) peri::sim::fail("ncclGroupEnd without ncclGroupStart");
    const std::shared_ptr<Group> all = std::move(group);
    group = nullptr;
    if (all->parts.empty()) return ncclSuccess;
    std::vector<peri::sim::Transfer::Range> ranges;
    {
        const peri::sim::DeviceAccess access(all->stream);
        for (Part& part : all->parts) {
            ranges.push_back({part.memory, part.bytes});
            if (!part.received) std::memcpy(part.copy.data(), part.memory, part.bytes);
        }
    }
    for (Part& part : all->parts) {
        MPI_Request& request = all->requests.emplace_back();
        const int bytes = static_cast<int>(part.bytes);
        if (part.received)
            MPI_Irecv(part.copy.data(), bytes, MPI_BYTE, part.peer, 0, current->mpi, &request);
        else
            MPI_Isend(part.copy.data(), bytes, MPI_BYTE, part.peer, 0, current->mpi, &request);
    }
    const auto arrived = [all] {
        int done = 0;
        MPI_Testall(static_cast<int>(all->requests.size()), all->requests.data(), &done,
                    MPI_STATUSES_IGNORE);
        return done != 0;
    };
    const auto land = [all] {
        for (const Part& part : all->parts)
            if (part.received) std::memcpy(part.memory, part.copy.data(), part.bytes);
    };
    peri::sim::begin({all->stream, ranges, arrived, land});
    return ncclSuccess;
}
