// What the .cu files use of CUDA's runtime by HIP's names, for AMD's GPUs (make check-hip). Not here: cuBLASLt
// (matmul.cu) and the tensor cores' PTX (mma.h, attention_tiles.cu).
#pragma once

#include <hip/hip_runtime.h>

#define __CUDACC__

#define cudaDeviceProp hipDeviceProp_t
#define cudaErrorMemoryAllocation hipErrorMemoryAllocation
#define cudaError_t hipError_t
#define cudaEventCreate hipEventCreate
#define cudaEventElapsedTime hipEventElapsedTime
#define cudaEventRecord hipEventRecord
#define cudaEventSynchronize hipEventSynchronize
#define cudaEvent_t hipEvent_t
#define cudaFree hipFree
#define cudaFuncAttributeMaxDynamicSharedMemorySize hipFuncAttributeMaxDynamicSharedMemorySize
#define cudaFuncSetAttribute hipFuncSetAttribute
#define cudaGetDeviceCount hipGetDeviceCount
#define cudaGetDeviceProperties hipGetDeviceProperties
#define cudaGetErrorString hipGetErrorString
#define cudaGetLastError hipGetLastError
#define cudaMalloc hipMalloc
#define cudaMemGetInfo hipMemGetInfo
#define cudaMemcpyAsync hipMemcpyAsync
#define cudaMemcpyDeviceToDevice hipMemcpyDeviceToDevice
#define cudaMemcpyDeviceToHost hipMemcpyDeviceToHost
#define cudaMemcpyHostToDevice hipMemcpyHostToDevice
#define cudaMemsetAsync hipMemsetAsync
#define cudaSetDevice hipSetDevice
#define cudaStreamCreate hipStreamCreate
#define cudaStreamSynchronize hipStreamSynchronize
#define cudaStream_t hipStream_t
#define cudaSuccess hipSuccess

// A warp here is 32 lanes, half of a wavefront where that has 64. All lanes of it always take part, so that
// the mask says nothing.
#define __shfl_xor_sync(mask, value, distance) __shfl_xor(value, distance, 32)
#define __shfl_sync(mask, value, lane) __shfl(value, lane, 32)
