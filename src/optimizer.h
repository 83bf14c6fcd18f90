// AdamW and SGD over the tensor table, with clipping of the global gradient norm.
#pragma once

#include "comm.h"
#include "model.h"

namespace peri {

struct OptimizerSettings {
    bool sgd = false;  // Appendix I
    double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, momentum = 0.9;
    double weight_decay = 0.033;  // Table 2; matrices only
    double clip = 1;              // largest global gradient norm; 0: no clipping

    int moments() const { return sgd ? 1 : 2; }
};

// Where processes share a training (comm.h), each has the moments and master weights of its piece of
// the numbers alone (ZeRO-1, Rajbhandari et al. 2020): step adds up the gradients of all for that
// piece, updates it, and hands it to the others.
template <class Real>
class Optimizer {
  public:
    // Master weights (real.h) start as copies of the model's: initialise or load the model first.
    Optimizer(Model<Real>& model, const OptimizerSettings& settings);

    // One update of every trained tensor from the gradients in the model, at learning rate lr.
    // A gradient norm that is not finite makes every weight NaN: nothing hides a divergence; with a loss scale
    // (loss_scale.h) the step is skipped.
    // Collective; of the gradients only this process's piece is then the sum.
    void step(double lr);

    double gradient_norm() const;  // before clipping, of the latest step; waits for the device

    // Updates so far; with state(), all that a run needs besides the weights to go on.
    int steps() const { return steps_; }
    void set_steps(int steps) { steps_ = steps; }

    // This process's part of a tensor, in numbers of the tensor: first .. first + count.
    struct Part {
        size_t first = 0, count = 0;
    };
    Part part(int id) const;

    // For every trained tensor, in the table's order: "m", "v" (AdamW) and, of matrices where Real has
    // them, "master".
    struct State {
        std::string name;      // "m.<tensor>"
        int id;                // of the tensor in the table, whose shape it has
        Accum<Real>* numbers;  // of this process's part of the tensor
        comm::Bounds bounds;   // where each process's part begins, in numbers of the tensor
    };
    std::vector<State> state() const;
    // Tensor id as updates add up in it: its master weights where it has them, else the model's.
    // Setting it sets both. Of the master weights both see this process's part alone.
    std::vector<double> weights(int id) const;
    void set_weights(int id, const std::vector<double>& values);

  private:
    struct Scalars {        // on the device
        double norm;        // of the gradients
        Accum<Real> scale;  // what gradients are multiplied by, so that their norm is at most clip
    };
    Accum<Real>* of_part(const Arena<Real>& arena, int id) const;
    Accum<Real>* master(int id) const;  // null where the model's own weights are as wide
    void find_norm();
    void share_weights();

    Model<Real>& model_;
    OptimizerSettings settings_;
    comm::Bounds pieces_;          // of the processes, in the gradients' arena, whole square_blocks
    Arena<Real> m_, v_, masters_;  // of this one's piece; they lie as the gradients do
    Arena<Real> sums_, scalars_;   // sums_: of the squares of every block
    int steps_ = 0;
};

}  // namespace peri
