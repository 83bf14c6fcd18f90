// The Transformer: parameters, forward, backward. It knows nothing of files, flags or printing.
#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>
#include <vector>

#include "activations.h"
#include "batch.h"
#include "config.h"
#include "device.h"
#include "kernels.h"
#include "random.h"
#include "tensors.h"

namespace peri {

// Bytes by part, known before anything is allocated.
struct MemoryPlan {
    size_t weights, gradients, optimizer, activations, workspace;
    size_t total() const { return weights + gradients + optimizer + activations + workspace; }
};

// For batches of B sequences of T tokens; moments: the optimizer's numbers per weight, of which each of
// `ranks` processes has a share.
template <class Real>
MemoryPlan plan_memory(const ModelConfig& config, int B, int T, int moments,
                       Purpose purpose = Purpose::training, int ranks = 1);

// What is there when hidden state s, of 0 .. S, is (forward) or its gradient (backward): views of
// memory on the device that the next sub-layer overwrites.
template <class Real>
struct Passed {
    int s;
    const Real* hidden = nullptr;      // (R,C) the hidden state, or its gradient
    const Real* a = nullptr;           // (R,C) forward, s > 0: what the module before it wrote
    NormStats<Real> output_norm = {};  // of a, where there is one
    const Real* h = nullptr;           // (R,F) of an MLP
    const Real* d_o = nullptr;  // (R,C) backward, s < S: dL/do of the sub-layer behind s, where
                                // a main_norm makes it another than its dL/dy
};

// Looks on while a model runs.
template <class Real>
using Observer = std::function<void(const Passed<Real>&)>;

template <class Real>
class Model {
  public:
    // Memory for batches of up to B sequences of up to T tokens; all weights 0.
    // Throws UserError when there is not enough.
    Model(const ModelConfig& config, int B, int T, Purpose purpose = Purpose::training);

    void initialise(uint64_t seed);

    // Lets the backend choose the fastest way for this model's products, by measuring: a second or
    // so. Bits of results then depend on the choices (backend_choices in device.h).
    void tune();

    // The batch that the functions below work on; its B and T may be smaller than the model's.
    void load(const Batch& batch);

    // In place of load, to go on with sequence 0 of a batch of one: forward then works on these
    // tokens alone, at the positions after those of before, whose keys and values are still there.
    // All together at most context() tokens; not with Recompute::sublayers, which keeps no keys.
    void append(const std::vector<int>& tokens);

    void forward(const Observer<Real>& observe = {});

    // Add the mean loss over the targets, sum / divisor, to the loss on the device. backward also
    // adds the gradient of every trained tensor, z-loss included, to the gradient arena. Both come
    // after load and forward. Only a model for training has gradients.
    void evaluate(double divisor);
    void backward(double divisor, const Observer<Real>& observe = {});

    void zero_loss();
    void zero_gradients();
    void swap_gradients(Arena<Real>& other) { gradients_.swap(other); }  // of the same size
    double loss() const;  // nats a token; waits for the device

    // From now on gradients are this much larger; gradient_values are as ever. Scale 1 at first, and without
    // one on the device, so that a step whose gradients are not finite is not skipped.
    void set_loss_scale(const LossScale& scale);
    LossScale loss_scale() const;  // waits for the device
    LossScale* device_loss_scale() const { return loss_scale_.template at<LossScale>(); }

    // logits (V) of the last token of sequence 0; after forward
    std::vector<double> next_token_logits();

    // The hidden state (R,C) before sub-layer s; s = S: after the last one; s = S + 1: as the head
    // reads it, after the final norm where there is one. After forward, which of a model for inference leaves the last
    // two alone.
    std::vector<double> hidden_state(int s) const;

    // What forward keeps, and the gradients on their way: views of memory on the device.
    const Activations<Real>& activations() const { return act_; }

    // From now on what products, the head, norms, attention and sums on the residual stream
    // compute, forward and backward, is moved by `share` of itself, up or down by chance, and by `least` to 0: what
    // rounding to a narrower type would do (crosscheck.h). 0: not moved.
    void perturb_results(double share, double least,
                         uint64_t seed) requires std::is_same_v<Real, double> {
        perturbation_ = share;
        least_ = least;
        perturbation_rng_ = Rng(seed);
    }

    const ModelConfig& config() const { return config_; }
    const TensorTable& table() const { return table_; }
    int context() const { return T_max_; }  // the most tokens of a sequence
    int rows() const { return B_ * T_; }    // tokens of the batch
    int sublayer_count() const { return static_cast<int>(sublayers_.size()); }

    // Row `id` of the table: its values on the device, and its gradient (null if not trained). visit
    // calls use(values) with those of a matrix or of a vector.
    Real* matrix(int id) const { return weights_.template at<Real>(weight_offsets_[id]); }
    Accum<Real>* vector(int id) const {
        return weights_.template at<Accum<Real>>(weight_offsets_[id]);
    }
    template <class Use>
    auto visit(int id, Use&& use) const {
        return table_.rows[id].is_matrix() ? use(matrix(id)) : use(vector(id));
    }
    Accum<Real>* gradient(int id) const;
    Accum<Real>* all_gradients() const { return gradients_.template at<Accum<Real>>(); }

    // All weights, which lie in the order of the gradients, and where there the weight lies whose
    // gradient is number i of all_gradients(), or the next where that is padding.
    void* all_weights() const { return weights_.at(); }
    size_t weight_byte(size_t i) const;

    // Copies of one tensor on the host, as double.
    std::vector<double> values(int id) const;
    std::vector<double> gradient_values(int id) const;
    void set_values(int id, const std::vector<double>& values);
    void set_gradient_values(int id, std::vector<double> values);

  private:
    using Views = SubLayerActivations<Real>;

    const Real* sublayer_forward(int s, const Real* x);
    void sublayer_backward(int s, const Real* x);
    void recompute(int s, const Real* x);
    void attention_module_forward(int s, Real* a, const Real* x_tilde);
    void attention_module_backward(int s, Real* d_x_tilde, const Real* d_a, const Real* x_tilde);
    void mlp_module_forward(int s, Real* a, const Real* x_tilde);
    void gate_forward(int s);
    void mlp_module_backward(int s, Real* d_x_tilde, const Real* d_a, const Real* x_tilde);

    // the term of a norm call that makes it "alpha x + Norm(...)"
    static Plus<Real> plus(double alpha, const Real* x) { return {Accum<Real>(alpha), x}; }
    void norm_forward(Real* y, NormStats<Real> stats, const Real* x, NormIds ids, int rows,
                      int width, Plus<Real> term = {});
    void norm_backward(Real* dx, const Real* dy, const Real* x, NormStats<Real> stats, NormIds ids,
                       int rows, int width, Plus<Real> term = {});
    void rotate(Real* x, int heads);
    void rotate_backward(Real* dx, int heads);
    void add(Real* y, double alpha, const Real* x, const Real* a);
    void attend(const Views& act);
    void attend_backward(const Views& act);
    void head(Real* d_last, Accum<Real>* d_head, double divisor, double z_loss);
    void project(Real* y, const Real* x, int id);
    void project_backward(Real* dx, const Real* dy, const Real* x, int id, Dx mode);
    void qkv_norm_forward(Real* y, NormStats<Real> stats, const Real* x, NormIds ids, int width);
    void qkv_norm_backward(Real* dx, const Real* x, NormStats<Real> stats, NormIds ids, int width);

    // --fake-quant (few_bits.h): of (R,C) numbers, and of the sub-layers' matrices, which products read rounded
    void round_to(FewBits format, Real* x);
    void round_matrices();
    template <class Use>
    void visit_sublayer_matrices(Use use) const;
    Real* rounded(int id) const {
        return (rounded_.bytes() ? rounded_ : weights_).template at<Real>(weight_offsets_[id]);
    }

    void perturb(Real* y, size_t n);
    void load_documents(const std::vector<int>& tokens);

    const Real* hidden(int s) const { return s == 0 ? act_.x0 : act_.sublayers[s - 1].y; }
    AttentionShape attention_shape() const;
    // where a key or value of the new tokens goes: after those of the tokens before (append)
    Real* after_cache(Real* rows) const {
        return rows + size_t(cache_length_) * config_.kv_width();
    }

    ModelConfig config_;
    TensorTable table_;
    std::vector<SubLayer> sublayers_;
    std::vector<size_t> weight_offsets_;  // bytes
    Activations<Real> act_;               // views into activations_
    Arena<Real> weights_, rounded_, gradients_, activations_, scalars_, logits_, loss_scale_;
    int B_max_, T_max_, B_, T_;
    int cache_length_ = 0;  // tokens before these, whose keys and values are kept
    int document_ = 0;      // position at which the last token's document begins
    double perturbation_ = 0, least_ = 0;
    Rng perturbation_rng_ = Rng(0);
};

}  // namespace peri
