// Transfers between GPUs, by NCCL: float, bf16 and fp16 live there. All that concerns hosts stays
// with MPI (mpi.cpp), which also carries NCCL's id. Each process has one GPU, its own
// (gpu/device.cu).
#include <nccl.h>

#include "check.h"
#include "comm.h"
#include "comm/transfers.h"
#include "cuda.h"
#include "real.h"

namespace peri::comm {

namespace {

void check(ncclResult_t result, const char* call) {
    if (result != ncclSuccess && result != ncclInProgress)
        throw UserError(std::string("NCCL: ") + call + ": " + ncclGetErrorString(result) +
                        "; NCCL_DEBUG=INFO in the environment says more");
}
#define NCCL_CHECK(call) check(call, #call)

ncclComm_t communicator() {
    static const ncclComm_t made = [] {
        ncclUniqueId id = {};
        if (rank() == 0) NCCL_CHECK(ncclGetUniqueId(&id));
        const std::string first = from_first(std::string(id.internal, sizeof id.internal));
        std::copy(first.begin(), first.end(), id.internal);
        ncclComm_t comm;
        NCCL_CHECK(ncclCommInitRank(&comm, size(), id, rank()));
        return comm;
    }();
    return made;
}

// On the stream of all kernels: they come before and after in its order.
class GpuTransfers : public Transfers {
  public:
    GpuTransfers() {
        exchange({0});  // all ranks are here, or it is said which is not
        communicator();
        NCCL_CHECK(ncclGroupStart());
    }
    void send(int to, const void* from, size_t bytes) override {
        if (bytes) NCCL_CHECK(ncclSend(from, bytes, ncclInt8, to, communicator(), stream()));
    }
    void receive(int from, void* to, size_t bytes) override {
        if (bytes) NCCL_CHECK(ncclRecv(to, bytes, ncclInt8, from, communicator(), stream()));
    }
    void wait() override {
        NCCL_CHECK(ncclGroupEnd());
        try {
            wait_until([] { return arrived(); }, [] { return std::string("a GPU"); });
        } catch (const UserError&) {
            ncclCommAbort(communicator());  // else its kernel would wait for ever, and we for it
            throw;
        }
    }

  private:
    static bool arrived() {
        ncclResult_t result;
        NCCL_CHECK(ncclCommGetAsyncError(communicator(), &result));
        check(result, "a transfer");
        const cudaError_t state = cudaStreamQuery(stream());
        if (state == cudaErrorNotReady) return false;
        CUDA_CHECK(state);
        return true;
    }
};

}  // namespace

template <class Real>
std::unique_ptr<Transfers> transfers() {
    return std::make_unique<GpuTransfers>();
}

template std::unique_ptr<Transfers> transfers<float>();
template std::unique_ptr<Transfers> transfers<bf16>();
template std::unique_ptr<Transfers> transfers<fp16>();

}  // namespace peri::comm
