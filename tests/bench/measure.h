// What the benchmarks share: clocks, medians, and the training step of a model, measured.
#pragma once

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/product.h"
#include "optimizer.h"
#include "random.h"

namespace peri {

inline double now() {
    const auto time = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(time).count();
}

inline double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
}

inline ModelConfig config_of(const std::string& size_name, int vocab, const std::string& norm) {
    ModelConfig c = model_of(find_size(size_name));
    c.norm = norm;
    c.vocab = vocab;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

// A line "VmHWM:  1234 kB" of this process's status, in bytes.
inline size_t process_memory(const std::string& name) {
    std::ifstream file("/proc/self/status");
    size_t kib = 0;
    for (std::string word; file >> word;)
        if (word == name + ":" && file >> kib) break;
    return kib * 1024;
}

inline double cpu_seconds(const rusage& r) {
    return static_cast<double>(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           1e-6 * static_cast<double>(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

// A model, its optimizer and a random batch, on which step after step is timed.
template <class T>
class Steps {
  public:
    Steps(const ModelConfig& config, int B, int T_)
        : memory_before_(start_of_memory()), model_(config, B, T_), optimizer_(prepared(), {}) {
        Rng rng(1);
        batch_.B = B;
        batch_.T = T_;
        for (int i = 0; i < B * T_; i++) {
            batch_.tokens.push_back(static_cast<int>(rng.below(config.vocab)));
            batch_.labels.push_back(static_cast<int>(rng.below(config.vocab)));
        }
        planned_ = plan_memory<T>(config, B, T_, 2).total();
        step();  // the first touches memory for the first time
        peak_ = process_memory("VmHWM") - memory_before_;
    }

    // Steps until both have been reached.
    void run(int steps, double seconds) {
        rusage before{}, after{};
        getrusage(RUSAGE_SELF, &before);
        const double start = now();
        for (int i = 0; i < steps || now() - start < seconds; i++) times_.push_back(step());
        wall_ += now() - start;
        getrusage(RUSAGE_SELF, &after);
        cpu_ += cpu_seconds(after) - cpu_seconds(before);
        faults_ += static_cast<double>(after.ru_minflt - before.ru_minflt);
        latest_ = {times_.end() - std::min<ptrdiff_t>(times_.size(), steps), times_.end()};
    }

    double seconds() const { return median(times_); }
    const std::vector<double>& all_seconds() const { return times_; }
    double seconds_of_latest_run() const { return median(latest_); }
    double page_faults() const { return faults_ / static_cast<double>(times_.size()); }
    double idle() const { return 1 - cpu_ / (wall_ * get_threads()); }  // share of threads' time
    size_t peak_memory() const { return peak_; }  // bytes, at most, of this model alone
    size_t planned_memory() const { return planned_; }

  private:
    static size_t start_of_memory() {
        malloc_trim(0);                                 // what earlier models left
        std::ofstream("/proc/self/clear_refs") << "5";  // forgets the peak
        return process_memory("VmRSS");
    }
    Model<T>& prepared() {
        model_.tune();
        model_.initialise(1);
        return model_;
    }
    double step() {
        const double start = now();
        model_.load(batch_);
        model_.zero_loss();
        model_.zero_gradients();
        model_.forward();
        model_.backward(batch_.B * batch_.T);
        optimizer_.step(1e-4);
        if (!(model_.loss() > 0)) std::exit(1);
        return now() - start;
    }

    size_t memory_before_;
    Model<T> model_;
    Optimizer<T> optimizer_;
    Batch batch_{};
    std::vector<double> times_, latest_;
    double wall_ = 0, cpu_ = 0, faults_ = 0;
    size_t peak_ = 0, planned_ = 0;
};

}  // namespace peri
