// The simulator's stand-in for NVIDIA's header: what src/comm/nccl.cpp uses of NCCL, between processes
// that MPI has started, each with a simulated GPU of its own. Memory that has been handed over stays out
// of reach, in whole pages, until its stream has been waited for.
#pragma once

#include <cuda_runtime.h>

enum ncclResult_t { ncclSuccess = 0, ncclInvalidArgument = 4, ncclInProgress = 7 };
enum ncclDataType_t { ncclInt8 = 0 };
using ncclComm_t = struct ncclComm*;
struct ncclUniqueId {
    char internal[128];
};

const char* ncclGetErrorString(ncclResult_t result);
ncclResult_t ncclGetUniqueId(ncclUniqueId* id);
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* result);
ncclResult_t ncclCommAbort(ncclComm_t comm);

ncclResult_t ncclGroupStart();
ncclResult_t ncclGroupEnd();
// as the house uses them: within a group
ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream);
