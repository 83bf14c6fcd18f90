// --check: the linked backend beside the oracle, tensor by tensor, on the user's own model.
//
// Model<double>, which src/cpu computes in every program, and Model<Real> run the same steps. The
// trajectory is the oracle's, a function of the run's settings and Real alone: two programs that check
// the same run start every step from the same weights, so their errors can be compared.
//
// One step, from w, the oracle's weights in double:
//   start           w goes to the backend, which rounds it to Real; the oracle takes the rounded
//                   weights from there, so that both compute with the same numbers
//   compare_run     forward and backward of both: the hidden states from the embedding to the head,
//                   the loss, the gradients from the head to the embedding. In this order the first
//                   tensor that differs is the one nearest to the cause.
//   compare_update  the oracle's gradients go to the backend too, and both optimizers step from w:
//                   the gradient norm and the new weights. The oracle's are the next step's w.
//
// Several processes (comm.h) check their own share of the batch, and of the new weights; these then have
// the same bits on all.
//
// The error of a tensor is the largest |backend - oracle| over the largest |oracle|; that of the
// loss, a logarithm, is the difference itself. The tolerance is what rounding explains. How far
// rounding carries a tensor depends on the model, the data and how far training is, so the oracle
// is asked: it runs the step once more with every result moved by one unit roundoff of Real, up or
// down by chance. A tensor may be off by so many times what it moved then (crosscheck.cpp).
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "comm.h"
#include "data/data.h"
#include "model.h"
#include "optimizer.h"
#include "run/run_config.h"

namespace peri {

struct Comparison {
    const char* stage;   // hidden, loss, gradient, norm, weight
    std::string tensor;  // as the tensor table names it; a hidden state by the sub-layer it leaves
    double error, tolerance;

    bool differs() const { return !(error <= tolerance); }  // NaN differs
    double share() const { return error == 0 ? 0 : error / tolerance; }
};

// Largest |got - expected|; NaN if there is one on either side, or an infinity on both.
double largest_difference(const std::vector<double>& got, const std::vector<double>& expected);

template <class Real>
class CrossCheck {
  public:
    explicit CrossCheck(const RunConfig& run);

    // The three parts of a step, in this order.
    void start(const Batch& batch);  // this process's share
    std::vector<Comparison> compare_run();
    std::vector<Comparison> compare_update(double lr);

    Model<Real>& backend() { return backend_; }
    double oracle_loss() const { return comm::sum(oracle_.loss()); }  // of the whole batch

  private:
    // What the oracle computes in one run: hidden states, and gradients by the table's rows.
    struct Trace {
        std::vector<std::vector<double>> hidden, gradients;
    };
    Trace perturbed_run();  // the oracle's, results moved by one unit roundoff of Real
    double loss_movement() const;
    bool overflows(const Model<Real>& model) const;
    void gradients_to_first();
    Comparison compare_processes() const;
    int tensors() const { return static_cast<int>(oracle_.table().rows.size()); }

    uint64_t seed_;
    int micro_;  // sequences computed at once; hidden states are those of the last ones
    OptimizerSettings settings_;
    int64_t step_ = 0;
    Batch batch_;
    double targets_ = 0;  // of all processes
    Model<double> oracle_;
    Model<Real> backend_;
    Optimizer<double> oracle_optimizer_;
    Optimizer<Real> backend_optimizer_;
    std::vector<std::vector<double>> weights_;  // w, by the table's rows
};

// Runs run.check steps, or as many as it takes to find a difference. Prints a line a step, then the
// first tensor that differs or, where none does, how close one came. Writes all comparisons to csv.
// True when nothing differs.
template <class Real>
bool report_check(CrossCheck<Real>& check, const RunConfig& run, const Data& data,
                  std::ostream& csv);

}  // namespace peri
