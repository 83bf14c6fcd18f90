// AdamW and SGD over the tensor table, with clipping of the global gradient norm.
#pragma once

#include "model.h"

namespace peri {

struct OptimizerSettings {
    bool sgd = false;  // Appendix I
    double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, momentum = 0.9;
    double weight_decay = 0.033;  // Table 2; matrices only
    double clip = 1;              // largest global gradient norm; 0: no clipping

    int moments() const { return sgd ? 1 : 2; }
};

template <class Real>
class Optimizer {
  public:
    // Master weights (real.h) start as copies of the model's: initialise or load the model first.
    Optimizer(Model<Real>& model, const OptimizerSettings& settings);

    // One update of every trained tensor from the gradients in the model, at learning rate lr.
    // A gradient norm that is not finite makes every weight NaN: nothing hides a divergence.
    void step(double lr);

    double gradient_norm() const;  // before clipping, of the latest step; waits for the device

    // Updates so far; with state(), all that a run needs besides the weights to go on.
    int steps() const { return steps_; }
    void set_steps(int steps) { steps_ = steps; }

    // For every trained tensor, in the table's order: "m", "v" (AdamW) and, of matrices where Real has
    // them, "master".
    struct State {
        std::string name;  // "m.<tensor>"
        int id;            // of the tensor in the table, whose shape it has
        Accum<Real>* numbers;
    };
    std::vector<State> state() const;
    // Tensor id as updates add up in it: its master weights where it has them, else the model's.
    // Setting it sets both.
    std::vector<double> weights(int id) const;
    void set_weights(int id, const std::vector<double>& values);

  private:
    struct Scalars {        // on the device
        double sum, norm;   // of the gradient's squares; its root
        Accum<Real> scale;  // what gradients are multiplied by, so that their norm is at most clip
    };
    Accum<Real>* master(int id) const;  // null where the model's own weights are as wide

    Model<Real>& model_;
    OptimizerSettings settings_;
    Arena<Real> m_, v_, masters_;  // lie as the gradients do
    Arena<Real> scalars_;
    int steps_ = 0;
};

}  // namespace peri
