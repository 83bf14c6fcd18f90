// The paper's measurements of a model (Sections 3 to 5, Appendices C, K, L).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model.h"

namespace peri {

// Runs forward on a batch. Variance of the hidden state (Figures 1, 6): of each token over the
// width, then the mean over the tokens. Entry 0 is what enters the first sub-layer, entry s what
// leaves sub-layer s.
template <class Real>
std::vector<double> hidden_variance(Model<Real>& model, const Batch& batch);

struct Measurement {
    static constexpr int whole_model = -1;

    int layer;  // hidden state or sub-layer, 0 .. S, as in hidden_variance, or whole_model
    std::string quantity;
    double value;
};

// Runs the model on a batch, forward and, unless it is for inference, backward, and measures. Norms
// and variances of gradients are over all numbers together; the loss is the mean over the targets.
//
// of hidden state s = 0 .. S (0: what enters the first sub-layer, s: behind sub-layer s)
//   hidden_mean_abs, hidden_variance         |x|; as in hidden_variance above   (Figures 1, 6, 14)
//   hidden_gradient_norm, ..._variance       dL/dx_s, all tokens                       (Figure 7)
//   beyond_fp16, not_finite, hidden_largest  entries with |x| > 65504, infinite or NaN; largest |x|
//                                            as they lie on the device               (Figure 11)
//   outlier_share, outlier_kurtosis          m_c = mean over tokens of x_c^2: the share of the
//                                            largest 1 % of channels (at least one) in sum_c m_c;
//                                            mean m^2 / (mean m)^2, 1 .. C: all alike .. one alone
//                                            (He et al. 2024, arXiv 2405.19279)
// of sub-layer s = 1 .. S,   y = C ? Norm(o) : o,   o = alpha x + a~,   a~ = B ? Norm(a) : a
//   output_variance, residual_covariance     Var(a~) and 2 Cov(alpha x, a~)               (Eq. 4):
//                                            Var(o) = Var(alpha x) + Var(a~) + 2 Cov
//   weight_gradient_norm, ..._variance       dL/dW, all its matrices                   (Figure 7)
//   output_gamma_mean, _min, _std            of the norm at B               (Figures 9b, 39b)
// of the model (whole_model)
//   growth_linear_slope, _linear_error, _exponential_rate, _exponential_error   growth.h, Figure 6
//   last_layer_gradient                      |dL/dW_down| of the last MLP, our reading of
//                                            "final-layer"                             (Figure 5)
//   last_layer_bound                         sum_t |dL/do_t| |J_t| |h_t|, which it cannot exceed;
//                                            as C.2, for many tokens and whatever comes after o
// others
//   angular_distance_N                       of what enters LAYER l (two sub-layers each) and
//                                            layer l + N, N <= 24; `layer` is l   (Figures 9a, 39)
//   largest_001, ..., largest_100            the largest |x_s|; `layer` is s          (Figure 11)
//
// Afterwards loss, gradients and activations of the model are those of this batch.
template <class Real>
std::vector<Measurement> measure(Model<Real>& model, const Batch& batch);

// A row of probe.csv, step,layer,quantity,value; layer is empty for the whole model.
constexpr const char* probe_header = "step,layer,quantity,value";
std::string csv_row(int64_t step, const Measurement& m);

}  // namespace peri
