// Numbers in the simulated device's memory.
#pragma once

#include <cuda_runtime.h>

#include <vector>

template <class T>
struct DeviceArray {
    size_t size;
    T* data = nullptr;

    explicit DeviceArray(size_t n) : size(n) { cudaMalloc(&data, n * sizeof(T)); }
    explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
        cudaMemcpyAsync(data, values.data(), size * sizeof(T), cudaMemcpyHostToDevice);
    }
    ~DeviceArray() { cudaFree(data); }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;

    std::vector<T> values() const {
        std::vector<T> result(size);
        cudaMemcpyAsync(result.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost);
        return result;
    }
};
