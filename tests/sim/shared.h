// What the simulator's tests share: numbers in its device's memory, and what it complains of.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "random.h"
#include "tolerance.h"

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

// What the simulator complains of while action runs, "" if of nothing.
template <class Action>
std::string complaint(Action action) {
    peri::sim::set_failure_handler(
        [](const std::string& message) { throw std::runtime_error(message); });
    std::string message;
    try {
        action();
    } catch (const std::runtime_error& error) {
        message = error.what();
    }
    peri::sim::set_failure_handler(nullptr);
    return message;
}

inline std::vector<float> random_numbers(size_t n, uint64_t seed) {
    peri::Rng rng(seed);
    std::vector<float> result(n);
    for (float& x : result) x = static_cast<float>(rng.normal());
    return result;
}
