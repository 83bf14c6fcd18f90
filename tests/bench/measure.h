// What the benchmarks share: clocks, medians, and the training step of a model, measured.
#pragma once

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/matmul.h"
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

// Seconds that each thread of this process has computed, by its number; nothing where the system
// does not tell (Linux does, to 10 ms).
inline std::map<int, double> thread_seconds() {
    std::map<int, double> seconds;
    std::error_code none;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", none)) {
        std::ifstream file(task.path() / "stat");
        file.ignore(1000,
                    ')');  // "1234 (name) S 1 ...": the 14th and 15th are user and system time
        std::string word;
        for (int i = 3; i < 14; i++) file >> word;
        double user = 0, system = 0;
        if (file >> user >> system)
            seconds[std::stoi(task.path().filename())] =
                (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
    }
    return seconds;
}

// A model, its optimizer and a random batch, on which step after step is timed.
template <class Real>
class Steps {
  public:
    Steps(const ModelConfig& config, int B, int T)
        : memory_before_(start_of_memory()), model_(config, B, T), optimizer_(prepared(), {}) {
        Rng rng(1);
        batch_.B = B;
        batch_.T = T;
        for (int i = 0; i < B * T; i++) {
            batch_.tokens.push_back(static_cast<int>(rng.below(config.vocab)));
            batch_.targets.push_back(static_cast<int>(rng.below(config.vocab)));
        }
        planned_ = plan_memory<Real>(config, B, T, 2).total();
        step();  // the first touches memory for the first time
        peak_ = process_memory("VmHWM") - memory_before_;
    }

    // Steps until both have been reached.
    void run(int steps, double seconds) {
        rusage before{}, after{};
        getrusage(RUSAGE_SELF, &before);
        const std::map<int, double> threads_before = thread_seconds();
        const double start = now();
        for (int i = 0; i < steps || now() - start < seconds; i++) times_.push_back(step());
        wall_ += now() - start;
        getrusage(RUSAGE_SELF, &after);
        for (const auto& [thread, computed] : thread_seconds())
            if (threads_before.contains(thread))
                computing_[thread] += computed - threads_before.at(thread);
        faults_ += static_cast<double>(after.ru_minflt - before.ru_minflt);
        latest_ = {times_.end() - std::min<ptrdiff_t>(times_.size(), steps), times_.end()};
    }

    double seconds() const { return median(times_); }
    const std::vector<double>& all_seconds() const { return times_; }
    double seconds_of_latest_run() const { return median(latest_); }
    double page_faults() const { return faults_ / static_cast<double>(times_.size()); }
    // "2 9": per cent of the time that each thread did not compute, those left out that hardly did
    std::string idle() const {
        std::string shares;
        for (const auto& [thread, computed] : computing_)
            if (computed > 0.1 * wall_) {
                const double idle = std::max(0.0, 1 - computed / wall_);
                if (!shares.empty()) shares += ' ';
                shares += std::to_string(std::lround(100 * idle));
            }
        return shares;
    }
    size_t peak_memory() const { return peak_; }  // bytes, at most, of this model alone
    size_t planned_memory() const { return planned_; }

  private:
    static size_t start_of_memory() {
        malloc_trim(0);                                 // what earlier models left
        std::ofstream("/proc/self/clear_refs") << "5";  // forgets the peak
        return process_memory("VmRSS");
    }
    Model<Real>& prepared() {
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
    Model<Real> model_;
    Optimizer<Real> optimizer_;
    Batch batch_{};
    std::vector<double> times_, latest_;
    std::map<int, double> computing_;  // seconds, by thread
    double wall_ = 0, faults_ = 0;
    size_t peak_ = 0, planned_ = 0;
};

}  // namespace peri
