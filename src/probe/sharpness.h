// How sharp the loss is where training has come to: the largest eigenvalues of its Hessians, in double on the CPU.
// Beyond the paper. Gradient descent leaves a place where they exceed 2 / rate.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "optimizer.h"
#include "probe/probe.h"

namespace peri {

// Of a symmetric n x n matrix that is known by its products, times(v), by Lanczos' iteration. Ends when neither has
// moved by more than `tolerance` of the larger in size twice in succession, or after `most` products. NaN where one is
// not finite.
struct Ends {
    double smallest, largest;
};
Ends extreme_eigenvalues(
    const std::function<std::vector<double>(const std::vector<double>&)>& times, size_t n,
    uint64_t seed, double tolerance, int most);

// The model and a batch, in double, to be asked for products with Hessians of the mean loss over the batch's targets:
// H v = (g(+h v) - g(-h v)) / 2h, h |v| = `away`.
class Curvature {
  public:
    // A copy of the model, which stays as it is.
    template <class Real>
    Curvature(const Model<Real>& model, const Batch& batch);

    // Of all trained weights, in the order of the table.
    size_t weight_count() const { return weights_.size(); }
    std::vector<double> gradient(const std::vector<double>& weights);
    std::vector<double> times(const std::vector<double>& v);

    // Of hidden state s (R,C): the gradient behind it is that of all that reads it.
    size_t state_size() const;
    std::vector<double> state_gradient(int s, const std::vector<double>& added);
    std::vector<double> state_times(int s, const std::vector<double>& v);

    static constexpr double away = 1e-5;

  private:
    void set(const std::vector<double>& weights);

    Batch batch_;
    Model<double> model_;
    std::vector<double> weights_;
};

// Adam's second moments as it divides by them, sqrt(v / (1 - beta2^t)) + eps, in the order of Curvature's weights;
// empty before the first update, with SGD, and where processes have a part each.
template <class Real>
std::vector<double> adam_scale(const Model<Real>& model, const Optimizer<Real>& optimizer,
                               const OptimizerSettings& settings);

// of the model (layer: whole_model)
//   sharpness, sharpness_least  the largest and the smallest of H, the Hessian with respect to the weights
//   sharpness_adam              the largest of P^-1/2 H P^-1/2, P = diag(adam_scale), in whose terms Adam's step is
//                               the gradient's; stable below (2 + 2 beta1) / ((1 - beta1) rate) (Cohen et al. 2022,
//                               arXiv 2207.14484) where nothing is clipped: v is of clipped gradients, H of the loss.
//                               P is without Adam's 1 - beta1^t, which counts in the first steps
// of hidden states 0, the middle and S (layer: s)
//   hidden_sharpness            |H_xx|, the largest in size of the Hessian with respect to the state x_s (SimpleGPT,
//                               arXiv 2602.01212)
template <class Real>
std::vector<Measurement> sharpness(const Model<Real>& model, const Optimizer<Real>& optimizer,
                                   const OptimizerSettings& settings, const Batch& batch);

}  // namespace peri
