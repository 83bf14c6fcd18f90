#include "run/utilization.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "device.h"
#include "kernels.h"
#include "random.h"
#include "tensors.h"

namespace peri {

double operations_per_token(const ModelConfig& config, int T) {
    const TensorTable table = tensor_table(config);
    double numbers = 0;
    for (int id = 0; id < static_cast<int>(table.rows.size()); id++)
        if (table.rows[id].is_matrix() && id != table.embedding)
            numbers += double(id == table.head ? config.vocab : table.rows[id].rows) *
                       table.rows[id].cols;  // the head's padding is never read
    return 6 * numbers + 6.0 * config.layers * config.width * T;
}

namespace {

template <class Real>
double seconds_of_matmul(Real* y, const Real* x, const Real* w, int N) {
    device_synchronize<Real>();
    const auto start = std::chrono::steady_clock::now();
    linear_forward<Real>(y, x, w, nullptr, N, N, N);
    device_synchronize<Real>();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// An N x N matrix of chance: a GPU multiplies zeros faster.
template <class Real>
void fill(Real* device, size_t n) {
    Rng rng(1);
    std::vector<Real> numbers(n);
    for (Real& number : numbers) number = Real(static_cast<float>(rng.uniform() - 0.5));
    device_upload<Real>(device, numbers.data(), n * sizeof(Real));
}

}  // namespace

template <class Real>
double measured_peak(bool tune) {
    constexpr int largest = 8192;
    constexpr double long_enough = 0.01;  // seconds: a larger product is not computed faster
    reserve_workspace<Real>(linear_workspace<Real>());
    double peak = 0, best = 0;
    for (int N = 256; N <= largest && best < long_enough; N *= 2) {
        const size_t n = size_t(N) * N;
        const Arena<Real> x(n * sizeof(Real)), w(n * sizeof(Real)), y(n * sizeof(Real));
        fill(x.template at<Real>(), n);
        fill(w.template at<Real>(), n);
        if (tune) linear_tune<Real>(N, N, N);
        best = 1e300;
        for (int i = 0; i < 4; i++)
            best = std::min(best, seconds_of_matmul(y.template at<Real>(), x.template at<Real>(),
                                                    w.template at<Real>(), N));
        peak = std::max(peak, 2.0 * static_cast<double>(n) * N / best);
    }
    return peak;
}

template <class Real>
double measured_bandwidth() {
    constexpr size_t largest = size_t(256) << 20;
    constexpr double long_enough = 0.01;  // seconds: a processor has then left its caches
    double best = 0;
    size_t bytes = size_t(1) << 20;
    for (;; bytes *= 2) {
        const Arena<Real> from(bytes), to(bytes);
        best = 1e300;
        for (int i = 0; i < 4; i++) {
            device_mark<Real>(0);
            device_copy<Real>(to.at(), from.at(), bytes);
            device_mark<Real>(1);
            best = std::min(best, device_seconds<Real>(0, 1));
        }
        if (bytes == largest || best > long_enough) break;
    }
    return 2.0 * static_cast<double>(bytes) / best;
}

template double measured_bandwidth<float>();
template double measured_bandwidth<bf16>();
template double measured_bandwidth<fp16>();
template double measured_peak<float>(bool);
template double measured_peak<bf16>(bool);
template double measured_peak<fp16>(bool);

}  // namespace peri
