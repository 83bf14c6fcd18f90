#include "model.h"

#include "check.h"
#include "kernels.h"
#include "profile.h"

namespace peri {

// ---- the sub-layer, in the paper's notation -----------------------------------------------------
//
// Every placement of every sub-layer is this one function; placement.cpp's table says which norms it
// has, at the positions A (input_norm), B (output_norm) and C (main_norm) of Figure 2, and what alpha
// is. Peri-LN (Eq. 3) has A and B:
//
//     y = x + Norm(Module(Norm(x)))

template <class Real>
const Real* Model<Real>::sublayer_forward(int s, const Real* x) {
    const SubLayer& has = sublayers_[s];
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& act = act_.sublayers[s];
    const int R = rows(), width = config_.width;

    // x~ = A ? Norm(x) : x
    if (has.input_norm) norm_forward(act.x_tilde, act.input_norm, x, ids.input_norm, R, width);
    const Real* const x_tilde = has.input_norm ? act.x_tilde : x;

    // a = Module(x~); backward needs it where a norm follows, else all sub-layers share act_.a
    Real* const a = has.output_norm ? act.a : act_.a;
    if (has.attention)
        attention_module_forward(s, a, x_tilde);
    else
        mlp_module_forward(s, a, x_tilde);
    round_to(config_.fake_quant.outputs, a);  // --fake-quant alone

    // o = alpha x + a~,   a~ = B ? Norm(a) : a
    Real* const o = has.main_norm ? act.o : act.y;
    if (has.output_norm)
        norm_forward(o, act.output_norm, a, ids.output_norm, R, width, plus(has.alpha, x));
    else
        add(o, has.alpha, x, a);

    // y = C ? Norm(o) : o
    if (has.main_norm) norm_forward(act.y, act.main_norm, o, ids.main_norm, R, width);
    round_to(config_.fake_quant.hidden, act.y);
    return act.y;
}

// The same five lines, read upwards: dL/dy comes in and dL/dx goes out, in the same memory.
template <class Real>
void Model<Real>::sublayer_backward(int s, const Real* x) {
    const SubLayer& has = sublayers_[s];
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& act = act_.sublayers[s];
    const int R = rows(), width = config_.width;
    const Real* const x_tilde = has.input_norm ? act.x_tilde : x;
    Real *const d_y = act_.d_hidden, *const d_x = act_.d_hidden, *const d_x_tilde = act_.d_x_tilde;

    // y = C ? Norm(o) : o
    if (has.main_norm) norm_backward(act_.d_o, d_y, act.o, act.main_norm, ids.main_norm, R, width);
    const Real* const d_o = has.main_norm ? act_.d_o : d_y;

    // a~ = B ? Norm(a) : a.  Through o = alpha x + a~, dL/da~ is dL/do.
    if (has.output_norm)
        norm_backward(act_.d_a, d_o, act.a, act.output_norm, ids.output_norm, R, width);
    const Real* const d_a = has.output_norm ? act_.d_a : d_o;

    // a = Module(x~)
    if (has.attention)
        attention_module_backward(s, d_x_tilde, d_a, x_tilde);
    else
        mlp_module_backward(s, d_x_tilde, d_a, x_tilde);

    // x is read twice: dL/dx = alpha dL/do + what came back through x~ = A ? Norm(x) : x
    if (has.input_norm)
        norm_backward(d_x, d_x_tilde, x, act.input_norm, ids.input_norm, R, width,
                      plus(has.alpha, d_o));
    else
        add(d_x, has.alpha, d_o, d_x_tilde);
}

// What forward did not keep of sub-layer s, computed again just before its backward (--recompute).
template <class Real>
void Model<Real>::recompute(int s, const Real* x) {
    if (s + 1 == sublayer_count()) return;  // all of the last one is still there
    const SubLayer& has = sublayers_[s];
    const Views& act = act_.sublayers[s];
    if (config_.recompute == Recompute::sublayers) sublayer_forward(s, x);
    if (config_.recompute == Recompute::norms) {
        if (has.input_norm)
            norm_forward(act.x_tilde, act.input_norm, x, table_.sublayers[s].input_norm, rows(),
                         config_.width);
        if (!has.attention) gate_forward(s);
    }
}

// ---- attention: q, k, v -> [Norm] -> RoPE -> softmax(q k^T / sqrt(D)) v -> o --------------------

template <class Real>
void Model<Real>::attention_module_forward(int s, Real* a, const Real* x_tilde) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& act = act_.sublayers[s];
    const auto project_and_norm = [&](Real* y, Real* before_norm, NormStats<Real> stats,
                                      int matrix_id, NormIds norm, int width) {
        project(norm ? before_norm : y, x_tilde, matrix_id);
        if (norm) qkv_norm_forward(y, stats, before_norm, norm, width);
    };
    Real *const new_k = after_cache(act.k), *const new_v = after_cache(act.v);
    project_and_norm(act.q, act.q_in, act.q_norm, ids.q, ids.q_norm, config_.width);
    project_and_norm(new_k, act.k_in, act.k_norm, ids.k, ids.k_norm, config_.kv_width());
    project_and_norm(new_v, act.v_in, act.v_norm, ids.v, ids.v_norm, config_.kv_width());
    rotate(act.q, config_.heads);
    rotate(new_k, config_.kv_heads);
    attend(act);
    project(a, act.context, ids.o);
}

template <class Real>
void Model<Real>::attention_module_backward(int s, Real* d_x_tilde, const Real* d_a,
                                            const Real* x_tilde) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& act = act_.sublayers[s];
    project_backward(act_.d_context, d_a, act.context, ids.o, Dx::overwrite);
    attend_backward(act);
    rotate_backward(act_.d_q, config_.heads);
    rotate_backward(act_.d_k, config_.kv_heads);
    if (ids.q_norm) qkv_norm_backward(act_.d_q, act.q_in, act.q_norm, ids.q_norm, config_.width);
    if (ids.k_norm)
        qkv_norm_backward(act_.d_k, act.k_in, act.k_norm, ids.k_norm, config_.kv_width());
    if (ids.v_norm)
        qkv_norm_backward(act_.d_v, act.v_in, act.v_norm, ids.v_norm, config_.kv_width());
    project_backward(d_x_tilde, act_.d_q, x_tilde, ids.q, Dx::overwrite);
    project_backward(d_x_tilde, act_.d_k, x_tilde, ids.k, Dx::add);
    project_backward(d_x_tilde, act_.d_v, x_tilde, ids.v, Dx::add);
}

// ---- MLP: gate, up -> [Norm] -> silu(gate) up -> down -------------------------------------------

template <class Real>
void Model<Real>::mlp_module_forward(int s, Real* a, const Real* x_tilde) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& act = act_.sublayers[s];
    project(ids.gate_norm ? act.gate_in : act.gate, x_tilde, ids.gate);
    project(ids.up_norm ? act.up_in : act.up, x_tilde, ids.up);
    gate_forward(s);
    project(a, act.h, ids.down);
}

template <class Real>
void Model<Real>::gate_forward(int s) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& act = act_.sublayers[s];
    const int R = rows(), F = config_.ffn;
    if (ids.gate_norm) norm_forward(act.gate, act.gate_norm, act.gate_in, ids.gate_norm, R, F);
    if (ids.up_norm) norm_forward(act.up, act.up_norm, act.up_in, ids.up_norm, R, F);
    const Timed<Real> timed("swiglu_forward", swiglu_forward_work<Real>(double(R) * F));
    swiglu_forward(act.h, act.gate, act.up, size_t(R) * F);
}

template <class Real>
void Model<Real>::mlp_module_backward(int s, Real* d_x_tilde, const Real* d_a,
                                      const Real* x_tilde) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& act = act_.sublayers[s];
    const int R = rows(), F = config_.ffn;
    // swiglu_backward may overwrite dL/dh, which nothing reads after it, by dL/dgate
    Real *const d_h = act_.d_gate, *const d_gate = act_.d_gate, *const d_up = act_.d_up;
    project_backward(d_h, d_a, act.h, ids.down, Dx::overwrite);
    {
        const Timed<Real> timed("swiglu_backward", swiglu_backward_work<Real>(double(R) * F));
        swiglu_backward(d_gate, d_up, d_h, act.gate, act.up, size_t(R) * F);
    }
    if (ids.gate_norm)
        norm_backward(d_gate, d_gate, act.gate_in, act.gate_norm, ids.gate_norm, R, F);
    if (ids.up_norm) norm_backward(d_up, d_up, act.up_in, act.up_norm, ids.up_norm, R, F);
    project_backward(d_x_tilde, d_gate, x_tilde, ids.gate, Dx::overwrite);
    project_backward(d_x_tilde, d_up, x_tilde, ids.up, Dx::add);
}

// ---- the whole model: embedding -> [Norm] -> S sub-layers -> [Norm] -> head ---------------------

template <class Real>
void Model<Real>::forward(const Observer<Real>& observe) {
    const int R = rows(), C = config_.width;
    round_matrices();
    {
        const Timed<Real> timed("embedding_forward", embedding_forward_work<Real>(R, C));
        embedding_forward(act_.embedded, matrix(table_.embedding), act_.tokens, R, C);
    }
    if (table_.embedding_norm)
        norm_forward(act_.x0, act_.embedding_norm, act_.embedded, table_.embedding_norm, R, C);
    round_to(config_.fake_quant.hidden, act_.x0);
    const Real* x = act_.x0;
    if (observe) observe({.s = 0, .hidden = x});
    for (int s = 0; s < sublayer_count(); s++) {
        x = sublayer_forward(s, x);
        if (!observe) continue;
        const Views& act = act_.sublayers[s];
        const bool normed = sublayers_[s].output_norm;
        observe({s + 1, x, normed ? act.a : act_.a, act.output_norm, act.h});
    }
    if (table_.final_norm) norm_forward(act_.last, act_.final_norm, x, table_.final_norm, R, C);
}

template <class Real>
void Model<Real>::evaluate(double divisor) {
    CHECK(cache_length_ == 0);  // append brings no targets
    head(nullptr, nullptr, divisor, 0);
}

template <class Real>
void Model<Real>::backward(double divisor, const Observer<Real>& observe) {
    CHECK(cache_length_ == 0 && all_gradients());
    const int R = rows(), C = config_.width;
    Real* const d_x = act_.d_hidden;  // of the hidden state that backward has come to
    head(d_x, gradient(table_.head), divisor, config_.z_loss);
    if (table_.final_norm)
        norm_backward(d_x, d_x, hidden(sublayer_count()), act_.final_norm, table_.final_norm, R, C);
    if (observe) observe({.s = sublayer_count(), .hidden = d_x});
    for (int s = sublayer_count() - 1; s >= 0; s--) {
        recompute(s, hidden(s));
        sublayer_backward(s, hidden(s));
        Real* const d_o = sublayers_[s].main_norm ? act_.d_o : nullptr;
        if (observe) observe({.s = s, .hidden = d_x, .d_o = d_o});
    }
    if (table_.embedding_norm)
        norm_backward(d_x, d_x, act_.embedded, act_.embedding_norm, table_.embedding_norm, R, C);
    const Timed<Real> timed("embedding_backward", embedding_backward_work<Real>(R, C));
    embedding_backward<Real>(gradient(table_.embedding), d_x, act_.tokens, act_.order, R, C);
}

// ---- kernels with the table's tensors -----------------------------------------------------------
//
// Each is timed where that is asked for (profile.h), and ends with what --check asks of the oracle: a
// result moved by as much as rounding would (perturb_results).

template <class Real>
void Model<Real>::norm_forward(Real* y, NormStats<Real> stats, const Real* x, NormIds ids, int rows,
                               int width, Plus<Real> term) {
    const Accum<Real> eps = static_cast<Accum<Real>>(config_.norm_eps);
    const Timed<Real> timed(config_.layernorm ? "layernorm_forward" : "rmsnorm_forward",
                            norm_forward_work<Real>(rows, width, term.z));
    if (config_.layernorm)
        layernorm_forward(y, stats.mean, stats.rstd, x, vector(ids.gamma), vector(ids.beta), rows,
                          width, eps, term);
    else
        rmsnorm_forward(y, stats.rstd, x, vector(ids.gamma), rows, width, eps, term);
    perturb(y, size_t(rows) * width);
}

template <class Real>
void Model<Real>::norm_backward(Real* dx, const Real* dy, const Real* x, NormStats<Real> stats,
                                NormIds ids, int rows, int width, Plus<Real> term) {
    const Timed<Real> timed(config_.layernorm ? "layernorm_backward" : "rmsnorm_backward",
                            norm_backward_work<Real>(rows, width, term.z));
    if (config_.layernorm)
        layernorm_backward(dx, gradient(ids.gamma), gradient(ids.beta), dy, x, vector(ids.gamma),
                           stats.mean, stats.rstd, rows, width, term);
    else
        rmsnorm_backward(dx, gradient(ids.gamma), dy, x, vector(ids.gamma), stats.rstd, rows, width,
                         term);
    perturb(dx, size_t(rows) * width);
}

// A norm of q, k or v: gamma's size tells whether each head is a row, or all heads together are.
template <class Real>
void Model<Real>::qkv_norm_forward(Real* y, NormStats<Real> stats, const Real* x, NormIds ids,
                                   int width) {
    const int C = table_.rows[ids.gamma].cols;
    norm_forward(y, stats, x, ids, rows() * (width / C), C);
}

template <class Real>
void Model<Real>::qkv_norm_backward(Real* dx, const Real* x, NormStats<Real> stats, NormIds ids,
                                    int width) {
    const int C = table_.rows[ids.gamma].cols;
    norm_backward(dx, dx, x, stats, ids, rows() * (width / C), C);
}

template <class Real>
void Model<Real>::project(Real* y, const Real* x, int id) {
    const Tensor& w = table_.rows[id];
    const Timed<Real> timed("linear_forward", linear_forward_work<Real>(rows(), w.cols, w.rows),
                            w.name);
    linear_forward<Real>(y, x, rounded(id), nullptr, rows(), w.cols, w.rows);
    perturb(y, size_t(rows()) * w.rows);
}

template <class Real>
void Model<Real>::project_backward(Real* dx, const Real* dy, const Real* x, int id, Dx mode) {
    const Tensor& w = table_.rows[id];
    const Timed<Real> timed("linear_backward",
                            linear_backward_work<Real>(rows(), w.cols, w.rows, mode), w.name);
    linear_backward<Real>(dx, gradient(id), nullptr, dy, x, rounded(id), rows(), w.cols, w.rows,
                          mode);
    perturb(dx, size_t(rows()) * w.cols);
}

// y = alpha x + a, on the residual stream
template <class Real>
void Model<Real>::add(Real* y, double alpha, const Real* x, const Real* a) {
    const size_t n = size_t(rows()) * config_.width;
    const Timed<Real> timed("residual_add", residual_work<Real>(n));
    residual_add(y, x, a, Accum<Real>(alpha), n);
    perturb(y, n);
}

template <class Real>
void Model<Real>::attend(const Views& act) {
    const Timed<Real> timed("attention_forward", attention_forward_work<Real>(attention_shape()));
    attention_forward(act.context, act.lse, act.q, act.k, act.v, act_.document, attention_shape());
    perturb(act.context, size_t(rows()) * config_.width);
}

template <class Real>
void Model<Real>::attend_backward(const Views& act) {
    const Timed<Real> timed("attention_backward", attention_backward_work<Real>(attention_shape()));
    attention_backward(act_.d_q, act_.d_k, act_.d_v, act_.d_context, act.context, act.q, act.k,
                       act.v, act.lse, act_.document, attention_shape());
    perturb(act_.d_q, size_t(rows()) * config_.width);
    const size_t numbers = size_t(rows()) * config_.kv_heads * config_.head_size();
    for (Real* const dx : {act_.d_k, act_.d_v}) perturb(dx, numbers);
}

// x (rows, heads, D), in place; the tokens before these have been rotated already
template <class Real>
void Model<Real>::rotate(Real* x, int heads) {
    const int D = config_.head_size();
    const Timed<Real> timed("rope_forward", rope_work<Real>(double(rows()) * heads * D));
    rope_forward(x, x, act_.rope, B_, T_, heads, D, cache_length_);
}

template <class Real>
void Model<Real>::rotate_backward(Real* dx, int heads) {
    const int D = config_.head_size();
    const Timed<Real> timed("rope_backward", rope_work<Real>(double(rows()) * heads * D));
    rope_backward(dx, dx, act_.rope, B_, T_, heads, D, 0);
}

// d_last, d_head: null when only evaluating
template <class Real>
void Model<Real>::head(Real* d_last, Accum<Real>* d_head, double divisor, double z_loss) {
    const int R = rows(), C = config_.width, V = config_.vocab;
    const Timed<Real> timed("head_loss", head_loss_work<Real>(R, C, V, d_last));
    head_loss<Real>(scalars_.template at<double>(), d_last, d_head, act_.last, matrix(table_.head),
                    act_.targets, device_loss_scale(), R, C, V, divisor, z_loss);
    if (d_last) perturb(d_last, size_t(R) * C);
}

template <class Real>
AttentionShape Model<Real>::attention_shape() const {
    const ModelConfig& c = config_;
    return {.B = B_,
            .Tq = T_,
            .Tk = cache_length_ + T_,
            .first = cache_length_,
            .H = c.heads,
            .KV = c.kv_heads,
            .D = c.head_size()};
}

template class Model<double>;
template class Model<float>;
template class Model<bf16>;
template class Model<fp16>;

}  // namespace peri
