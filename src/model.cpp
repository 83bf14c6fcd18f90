#include "model.h"

#include "check.h"
#include "kernels.h"

namespace peri {

// ---- the sub-layer, in the paper's notation -----------------------------------------------------
//
// Every placement of every sub-layer is this one function; placement.cpp's table says which norms it
// has, at the positions A (input_norm), B (output_norm) and C (main_norm) of Figure 2, and what alpha
// is. Peri-LN (Eq. 3) has A and B:
//
//     y = x + Norm(Module(Norm(x)))

template <class T>
const T* Model<T>::sublayer_forward(int s, const T* x) {
    const SubLayer& has = sublayers_[s];
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& v = act_.sublayers[s];
    const int R = rows(), C = config_.width;

    // x~ = A ? Norm(x) : x
    if (has.input_norm) norm_forward(v.x_tilde, v.input_norm, x, ids.input_norm, R, C);
    const T* const x_tilde = has.input_norm ? v.x_tilde : x;

    // a = Module(x~)
    T* const a = has.output_norm ? v.a : act_.a;
    if (has.attention)
        attention_module_forward(s, a, x_tilde);
    else
        mlp_module_forward(s, a, x_tilde);

    // o = alpha x + a~,   a~ = B ? Norm(a) : a
    T* const o = has.main_norm ? v.o : v.y;
    if (has.output_norm)
        norm_forward(o, v.output_norm, a, ids.output_norm, R, C, plus(has.alpha, x));
    else
        add(o, has.alpha, x, a);

    // y = C ? Norm(o) : o
    if (has.main_norm) norm_forward(v.y, v.main_norm, o, ids.main_norm, R, C);
    return v.y;
}

// The same five lines, read upwards: dL/dy comes in and dL/dx goes out, in the same memory.
template <class T>
void Model<T>::sublayer_backward(int s, const T* x) {
    const SubLayer& has = sublayers_[s];
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& v = act_.sublayers[s];
    const int R = rows(), C = config_.width;
    const T* const x_tilde = has.input_norm ? v.x_tilde : x;
    T *const d_y = act_.d_hidden, *const d_x = act_.d_hidden, *const d_x_tilde = act_.d_x_tilde;

    // y = C ? Norm(o) : o
    if (has.main_norm) norm_backward(act_.d_o, d_y, v.o, v.main_norm, ids.main_norm, R, C);
    const T* const d_o = has.main_norm ? act_.d_o : d_y;

    // a~ = B ? Norm(a) : a.  Through o = alpha x + a~, dL/da~ is dL/do.
    if (has.output_norm) norm_backward(act_.d_a, d_o, v.a, v.output_norm, ids.output_norm, R, C);
    const T* const d_a = has.output_norm ? act_.d_a : d_o;

    // a = Module(x~)
    if (has.attention)
        attention_module_backward(s, d_x_tilde, d_a, x_tilde);
    else
        mlp_module_backward(s, d_x_tilde, d_a, x_tilde);

    // x is read twice: dL/dx = alpha dL/do + what came back through x~ = A ? Norm(x) : x
    if (has.input_norm)
        norm_backward(d_x, d_x_tilde, x, v.input_norm, ids.input_norm, R, C, plus(has.alpha, d_o));
    else
        add(d_x, has.alpha, d_o, d_x_tilde);
}

// What forward did not keep of sub-layer s, computed again just before its backward (--recompute).
template <class T>
void Model<T>::recompute(int s, const T* x) {
    if (s + 1 == sublayer_count()) return;  // all of the last one is still there
    const SubLayer& has = sublayers_[s];
    const Views& v = act_.sublayers[s];
    if (config_.recompute == Recompute::sublayers) sublayer_forward(s, x);
    if (config_.recompute != Recompute::norms) return;
    if (has.input_norm)
        norm_forward(v.x_tilde, v.input_norm, x, table_.sublayers[s].input_norm, rows(),
                     config_.width);
    if (!has.attention) gate_forward(s);
}

// ---- attention: q, k, v -> [Norm] -> RoPE -> softmax(q k^T / sqrt(D)) v -> o --------------------

template <class T>
void Model<T>::attention_module_forward(int s, T* a, const T* x_tilde) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& v = act_.sublayers[s];
    const int D = config_.head_size();
    const auto project_and_norm = [&](T* y, T* before_norm, NormStats<T> stats, int matrix_id,
                                      NormIds norm, int width) {
        project(norm ? before_norm : y, x_tilde, matrix_id);
        if (norm) qkv_norm_forward(y, stats, before_norm, norm, width);
    };
    T *const new_k = after_cache(v.k), *const new_v = after_cache(v.v);
    project_and_norm(v.q, v.q_in, v.q_norm, ids.q, ids.q_norm, config_.width);
    project_and_norm(new_k, v.k_in, v.k_norm, ids.k, ids.k_norm, config_.kv_width());
    project_and_norm(new_v, v.v_in, v.v_norm, ids.v, ids.v_norm, config_.kv_width());
    rope_forward(v.q, v.q, act_.rope, B_, T_, config_.heads, D, cache_length_);
    rope_forward(new_k, new_k, act_.rope, B_, T_, config_.kv_heads, D, cache_length_);
    attend(v);
    project(a, v.context, ids.o);
}

template <class T>
void Model<T>::attention_module_backward(int s, T* d_x_tilde, const T* d_a, const T* x_tilde) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& v = act_.sublayers[s];
    const int D = config_.head_size();
    project_backward(act_.d_context, d_a, v.context, ids.o, Dx::overwrite);
    attention_backward(act_.d_q, act_.d_k, act_.d_v, act_.d_context, v.context, v.q, v.k, v.v,
                       v.lse, act_.document, attention_shape());
    rope_backward(act_.d_q, act_.d_q, act_.rope, B_, T_, config_.heads, D, 0);
    rope_backward(act_.d_k, act_.d_k, act_.rope, B_, T_, config_.kv_heads, D, 0);
    if (ids.q_norm) qkv_norm_backward(act_.d_q, v.q_in, v.q_norm, ids.q_norm, config_.width);
    if (ids.k_norm) qkv_norm_backward(act_.d_k, v.k_in, v.k_norm, ids.k_norm, config_.kv_width());
    if (ids.v_norm) qkv_norm_backward(act_.d_v, v.v_in, v.v_norm, ids.v_norm, config_.kv_width());
    project_backward(d_x_tilde, act_.d_q, x_tilde, ids.q, Dx::overwrite);
    project_backward(d_x_tilde, act_.d_k, x_tilde, ids.k, Dx::add);
    project_backward(d_x_tilde, act_.d_v, x_tilde, ids.v, Dx::add);
}

// ---- MLP: gate, up -> [Norm] -> silu(gate) up -> down -------------------------------------------

template <class T>
void Model<T>::mlp_module_forward(int s, T* a, const T* x_tilde) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& v = act_.sublayers[s];
    project(ids.gate_norm ? v.gate_in : v.gate, x_tilde, ids.gate);
    project(ids.up_norm ? v.up_in : v.up, x_tilde, ids.up);
    gate_forward(s);
    project(a, v.h, ids.down);
}

template <class T>
void Model<T>::gate_forward(int s) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& v = act_.sublayers[s];
    const int R = rows(), F = config_.ffn;
    if (ids.gate_norm) norm_forward(v.gate, v.gate_norm, v.gate_in, ids.gate_norm, R, F);
    if (ids.up_norm) norm_forward(v.up, v.up_norm, v.up_in, ids.up_norm, R, F);
    swiglu_forward(v.h, v.gate, v.up, size_t(R) * F);
}

template <class T>
void Model<T>::mlp_module_backward(int s, T* d_x_tilde, const T* d_a, const T* x_tilde) {
    const SubLayerIds& ids = table_.sublayers[s];
    const Views& v = act_.sublayers[s];
    const int R = rows(), F = config_.ffn;
    // swiglu_backward may overwrite dL/dh, which nothing reads after it, by dL/dgate
    T *const d_h = act_.d_gate, *const d_gate = act_.d_gate, *const d_up = act_.d_up;
    project_backward(d_h, d_a, v.h, ids.down, Dx::overwrite);
    swiglu_backward(d_gate, d_up, d_h, v.gate, v.up, size_t(R) * F);
    if (ids.gate_norm) norm_backward(d_gate, d_gate, v.gate_in, v.gate_norm, ids.gate_norm, R, F);
    if (ids.up_norm) norm_backward(d_up, d_up, v.up_in, v.up_norm, ids.up_norm, R, F);
    project_backward(d_x_tilde, d_gate, x_tilde, ids.gate, Dx::overwrite);
    project_backward(d_x_tilde, d_up, x_tilde, ids.up, Dx::add);
}

// ---- the whole model: embedding -> [Norm] -> S sub-layers -> [Norm] -> head ---------------------

template <class T>
void Model<T>::forward(const Observer& observe) {
    const int R = rows(), C = config_.width;
    embedding_forward(act_.embedded, matrix(table_.embedding), act_.tokens, R, C);
    if (table_.embedding_norm)
        norm_forward(act_.x0, act_.embedding_norm, act_.embedded, table_.embedding_norm, R, C);
    const T* x = act_.x0;
    if (observe) observe(0);
    for (int s = 0; s < sublayer_count(); s++) {
        x = sublayer_forward(s, x);
        if (observe) observe(s + 1);
    }
    if (table_.final_norm) norm_forward(act_.last, act_.final_norm, x, table_.final_norm, R, C);
}

template <class T>
void Model<T>::evaluate(double divisor) {
    CHECK(cache_length_ == 0);  // append brings no labels
    head(nullptr, nullptr, divisor, 0);
}

template <class T>
void Model<T>::backward(double divisor, const Observer& observe) {
    CHECK(cache_length_ == 0 && all_gradients());
    const int R = rows(), C = config_.width;
    T* const d_x = act_.d_hidden;  // of the hidden state that backward has come to
    head(d_x, gradient(table_.head), divisor, config_.z_loss);
    if (table_.final_norm)
        norm_backward(d_x, d_x, hidden(sublayer_count()), act_.final_norm, table_.final_norm, R, C);
    if (observe) observe(sublayer_count());
    for (int s = sublayer_count() - 1; s >= 0; s--) {
        recompute(s, hidden(s));
        sublayer_backward(s, hidden(s));
        if (observe) observe(s);
    }
    if (table_.embedding_norm)
        norm_backward(d_x, d_x, act_.embedded, act_.embedding_norm, table_.embedding_norm, R, C);
    embedding_backward<T>(gradient(table_.embedding), d_x, act_.tokens, act_.order, R, C);
}

template <class T>
std::vector<double> Model<T>::next_token_logits() {
    const int C = config_.width, V = config_.vocab;
    T* const logits = logits_.template at<T>();
    linear_forward<T>(logits, act_.last + size_t(T_ - 1) * C, matrix(table_.head), nullptr, 1, C,
                      V);
    return download_as_double<T>(logits, V);
}

// ---- kernels with the table's tensors -----------------------------------------------------------
//
// Each ends with what --check asks of the oracle: a result moved by as much as rounding would
// (perturb_results).

template <class T>
void Model<T>::norm_forward(T* y, NormStats<T> stats, const T* x, NormIds ids, int rows, int width,
                            Plus<T> term) {
    const Accum<T> eps = static_cast<Accum<T>>(config_.norm_eps);
    if (config_.layernorm)
        layernorm_forward(y, stats.mean, stats.rstd, x, vector(ids.gamma), vector(ids.beta), rows,
                          width, eps, term);
    else
        rmsnorm_forward(y, stats.rstd, x, vector(ids.gamma), rows, width, eps, term);
    perturb(y, size_t(rows) * width);
}

template <class T>
void Model<T>::norm_backward(T* dx, const T* dy, const T* x, NormStats<T> stats, NormIds ids,
                             int rows, int width, Plus<T> term) {
    if (config_.layernorm)
        layernorm_backward(dx, gradient(ids.gamma), gradient(ids.beta), dy, x, vector(ids.gamma),
                           stats.mean, stats.rstd, rows, width, term);
    else
        rmsnorm_backward(dx, gradient(ids.gamma), dy, x, vector(ids.gamma), stats.rstd, rows, width,
                         term);
    perturb(dx, size_t(rows) * width);
}

// A norm of q, k or v: gamma's size tells whether each head is a row, or all heads together are.
template <class T>
void Model<T>::qkv_norm_forward(T* y, NormStats<T> stats, const T* x, NormIds ids, int width) {
    const int C = table_.rows[ids.gamma].cols;
    norm_forward(y, stats, x, ids, rows() * (width / C), C);
}

template <class T>
void Model<T>::qkv_norm_backward(T* dx, const T* x, NormStats<T> stats, NormIds ids, int width) {
    const int C = table_.rows[ids.gamma].cols;
    norm_backward(dx, dx, x, stats, ids, rows() * (width / C), C);
}

template <class T>
void Model<T>::project(T* y, const T* x, int id) {
    const Tensor& w = table_.rows[id];
    linear_forward<T>(y, x, matrix(id), nullptr, rows(), w.cols, w.rows);
    perturb(y, size_t(rows()) * w.rows);
}

template <class T>
void Model<T>::project_backward(T* dx, const T* dy, const T* x, int id, Dx mode) {
    const Tensor& w = table_.rows[id];
    linear_backward<T>(dx, gradient(id), nullptr, dy, x, matrix(id), rows(), w.cols, w.rows, mode);
    perturb(dx, size_t(rows()) * w.cols);
}

// y = alpha x + a, on the residual stream
template <class T>
void Model<T>::add(T* y, double alpha, const T* x, const T* a) {
    const size_t n = size_t(rows()) * config_.width;
    residual_add(y, x, a, Accum<T>(alpha), n);
    perturb(y, n);
}

template <class T>
void Model<T>::attend(const Views& v) {
    attention_forward(v.context, v.lse, v.q, v.k, v.v, act_.document, attention_shape());
    perturb(v.context, size_t(rows()) * config_.width);
}

// d_last, d_head: null when only evaluating
template <class T>
void Model<T>::head(T* d_last, Accum<T>* d_head, double divisor, double z_loss) {
    head_loss<T>(scalars_.template at<double>(), d_last, d_head, act_.last, matrix(table_.head),
                 act_.labels, rows(), config_.width, config_.vocab, divisor, z_loss);
    if (d_last) perturb(d_last, size_t(rows()) * config_.width);
}

template <class T>
AttentionShape Model<T>::attention_shape() const {
    const ModelConfig& c = config_;
    return {B_, T_, cache_length_ + T_, cache_length_, c.heads, c.kv_heads, c.head_size()};
}

template <class T>
void Model<T>::perturb([[maybe_unused]] T* y, [[maybe_unused]] size_t n) {
    if constexpr (std::is_same_v<T, double>) {
        if (perturbation_ == 0) return;
        for (size_t i = 0; i < n; i++)
            y[i] *= 1 + (perturbation_rng_.below(2) ? perturbation_ : -perturbation_);
    }
}

template class Model<double>;
template class Model<float>;
template class Model<bf16>;

}  // namespace peri
