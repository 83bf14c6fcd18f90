// Where the model's numbers lie: planned, allocated, loaded, and copied to the host.
#include "model.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "check.h"
#include "comm.h"
#include "kernels.h"
#include "profile.h"

namespace peri {

namespace {

// Offsets in bytes of all tensors in the weights' arena; the last entry is its size.
template <class Real>
std::vector<size_t> lay_out_weights(const TensorTable& table) {
    std::vector<size_t> offsets = {0};
    for (const Tensor& tensor : table.rows) {
        const size_t bytes =
            tensor.size() * (tensor.is_matrix() ? sizeof(Real) : sizeof(Accum<Real>));
        offsets.push_back(offsets.back() + device_aligned(bytes));
    }
    return offsets;
}

template <class Real>
size_t gradient_bytes(const TensorTable& table, Purpose purpose) {
    return purpose == Purpose::training ? table.gradient_numbers() * sizeof(Accum<Real>) : 0;
}

template <class Real>
size_t workspace_bytes(const ModelConfig& c, int B, int T) {
    const AttentionShape attention = {B, T, T, 0, c.heads, c.kv_heads, c.head_size()};
    return std::max({norm_workspace<Real>(std::max(c.width, c.ffn)),
                     attention_workspace<Real>(attention),
                     head_loss_workspace<Real>(B * T, c.vocab), linear_workspace<Real>(),
                     quantise_workspace(std::max({B * T, c.width, c.ffn}))});
}

// How many copies of the weights there are: with --fake-quant's of matrices, two.
int copies(const ModelConfig& c) { return c.fake_quant.weights == FewBits::none ? 1 : 2; }

}  // namespace

template <class Real>
MemoryPlan plan_memory(const ModelConfig& config, int B, int T, int moments, Purpose purpose,
                       int ranks) {
    const TensorTable table = tensor_table(config);
    Activations<Real> unused;
    MemoryPlan plan;
    plan.weights = copies(config) * lay_out_weights<Real>(table).back();
    plan.gradients = gradient_bytes<Real>(table, purpose);
    const size_t blocks = square_blocks(table.gradient_numbers());
    const size_t most = (blocks + ranks - 1) / ranks * square_block * sizeof(Accum<Real>);
    plan.optimizer = (moments + has_masters<Real>)*std::min(plan.gradients, most);
    plan.activations = lay_out(unused, config, B, T, purpose, nullptr);
    plan.workspace =
        std::max(workspace_bytes<Real>(config, B, T), comm::reduce_scatter_workspace<Real>(ranks));
    return plan;
}

template <class Real>
Model<Real>::Model(const ModelConfig& config, int B, int T, Purpose purpose)
    : config_(config),
      table_(tensor_table(config)),
      sublayers_(sublayers(config.placement)),
      weight_offsets_(lay_out_weights<Real>(table_)),
      weights_(weight_offsets_.back()),
      rounded_((copies(config) - 1) * weight_offsets_.back()),
      gradients_(gradient_bytes<Real>(table_, purpose)),
      activations_(lay_out(act_, config, B, T, purpose, nullptr)),
      scalars_(sizeof(double)),
      logits_(config.vocab * sizeof(Real)),
      B_max_(B),
      T_max_(T),
      B_(B),
      T_(T) {
    lay_out(act_, config_, B, T, purpose, activations_.at());
    reserve_workspace<Real>(workspace_bytes<Real>(config_, B, T));
    rope_table<Real>(act_.rope, T, config_.head_size(), config_.rope_base);
}

template <class Real>
void Model<Real>::initialise(uint64_t seed) {
    for (int id = 0; id < static_cast<int>(table_.rows.size()); id++)
        set_values(id, initial_values(table_.rows[id], seed, id));
}

// use(id, tensor) of each matrix of a sub-layer
template <class Real>
template <class Use>
void Model<Real>::visit_sublayer_matrices(Use use) const {
    for (int id = 0; id < static_cast<int>(table_.rows.size()); id++)
        if (table_.rows[id].is_matrix() && id != table_.embedding && id != table_.head)
            use(id, table_.rows[id]);
}

template <class Real>
void Model<Real>::tune() {
    visit_sublayer_matrices(
        [&](int, const Tensor& w) { linear_tune<Real>(B_max_ * T_max_, w.cols, w.rows); });
    head_loss_tune<Real>(B_max_ * T_max_, config_.width, config_.vocab);
}

template <class Real>
void Model<Real>::load(const Batch& batch) {
    CHECK(batch.B >= 1 && batch.T >= 1 && batch.B * batch.T <= B_max_ * T_max_ &&
          batch.T <= T_max_);
    B_ = batch.B;
    T_ = batch.T;
    cache_length_ = 0;
    std::vector<int> order(rows());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, {}, [&](int i) { return std::pair(batch.tokens[i], i); });
    const size_t bytes = rows() * sizeof(int);
    device_upload<Real>(act_.tokens, batch.tokens.data(), bytes);
    device_upload<Real>(act_.targets, batch.targets.data(), bytes);
    device_upload<Real>(act_.order, order.data(), bytes);
    load_documents(batch.tokens);
}

// A separator is the first token of its document: it sees only itself, so that what it predicts,
// the first token of the text, knows nothing of the text before. A sequence that begins within a
// document has the rest of it as its first.
template <class Real>
void Model<Real>::load_documents(const std::vector<int>& tokens) {
    if (!config_.document_mask) return;
    std::vector<int> starts(rows());
    for (int r = 0; r < rows(); r++) {
        const int position = cache_length_ + r % T_;
        if (position == 0 || tokens[r] == config_.separator) document_ = position;
        starts[r] = document_;
    }
    device_upload<Real>(act_.document, starts.data(), starts.size() * sizeof(int));
}

template <class Real>
void Model<Real>::append(const std::vector<int>& tokens) {
    const int n = static_cast<int>(tokens.size());
    CHECK(B_ == 1 && n >= 1 && cache_length_ + T_ + n <= T_max_);
    CHECK(config_.recompute != Recompute::sublayers);
    cache_length_ += T_;
    T_ = n;
    device_upload<Real>(act_.tokens, tokens.data(), n * sizeof(int));
    load_documents(tokens);
}

template <class Real>
void Model<Real>::zero_loss() {
    scalars_.zero();
}

template <class Real>
void Model<Real>::zero_gradients() {
    gradients_.zero();
}

template <class Real>
double Model<Real>::loss() const {
    double loss;
    device_download<Real>(&loss, scalars_.at(), sizeof loss);
    return loss;
}

template <class Real>
void Model<Real>::set_loss_scale(const LossScale& scale) {
    if (!loss_scale_.bytes()) Arena<Real>(sizeof scale).swap(loss_scale_);
    device_upload<Real>(loss_scale_.at(), &scale, sizeof scale);
}

template <class Real>
LossScale Model<Real>::loss_scale() const {
    LossScale scale = {1, 0, 0, 0};
    if (loss_scale_.bytes()) device_download<Real>(&scale, loss_scale_.at(), sizeof scale);
    return scale;
}

// ---- numbers of few bits ------------------------------------------------------------------------

template <class Real>
void Model<Real>::round_to(FewBits format, Real* x) {
    if (format == FewBits::none) return;
    const Timed<Real> timed("quantise", quantise_work<Real>(rows(), config_.width));
    quantise(x, x, rows(), config_.width, format);
}

template <class Real>
void Model<Real>::round_matrices() {
    if (!rounded_.bytes()) return;
    visit_sublayer_matrices([&](int id, const Tensor& w) {
        const Timed<Real> timed("quantise", quantise_work<Real>(w.rows, w.cols), w.name);
        quantise(rounded(id), matrix(id), w.rows, w.cols, config_.fake_quant.weights);
    });
}

// ---- looking inside -----------------------------------------------------------------------------

namespace {

template <class Real, class Number>
void upload_from_double(Number* device, const std::vector<double>& values) {
    const std::vector<Number> numbers(values.begin(), values.end());
    device_upload<Real>(device, numbers.data(), numbers.size() * sizeof(Number));
}

}  // namespace

template <class Real>
Accum<Real>* Model<Real>::gradient(int id) const {
    if (id < 0 || !table_.rows[id].trained || !all_gradients()) return nullptr;
    return all_gradients() + table_.rows[id].offset;
}

template <class Real>
size_t Model<Real>::weight_byte(size_t i) const {
    for (int id = 0; id < static_cast<int>(table_.rows.size()); id++) {
        const Tensor& tensor = table_.rows[id];
        if (i >= tensor.offset + tensor.size()) continue;
        const size_t first = i - std::min(i, tensor.offset);
        return weight_offsets_[id] +
               first * (tensor.is_matrix() ? sizeof(Real) : sizeof(Accum<Real>));
    }
    return weight_offsets_.back();
}

template <class Real>
std::vector<double> Model<Real>::values(int id) const {
    const size_t n = table_.rows[id].size();
    return visit(id, [&](const auto* numbers) { return download_as_double<Real>(numbers, n); });
}

template <class Real>
std::vector<double> Model<Real>::gradient_values(int id) const {
    CHECK(gradient(id));
    std::vector<double> values = download_as_double<Real>(gradient(id), table_.rows[id].size());
    const double unscale = 1.0 / loss_scale().scale;
    for (double& value : values) value *= unscale;
    return values;
}

template <class Real>
void Model<Real>::set_values(int id, const std::vector<double>& values) {
    CHECK(values.size() == table_.rows[id].size());
    visit(id, [&](auto* numbers) { upload_from_double<Real>(numbers, values); });
}

template <class Real>
void Model<Real>::set_gradient_values(int id, std::vector<double> values) {
    CHECK(gradient(id) && values.size() == table_.rows[id].size());
    const double scale = loss_scale().scale;
    for (double& value : values) value *= scale;
    upload_from_double<Real>(gradient(id), values);
}

template <class Real>
std::vector<double> Model<Real>::next_token_logits() {
    const int C = config_.width, V = config_.vocab;
    Real* const logits = logits_.template at<Real>();
    linear_forward<Real>(logits, act_.last + size_t(T_ - 1) * C, matrix(table_.head), nullptr, 1, C,
                         V);
    return download_as_double<Real>(logits, V);
}

template <class Real>
std::vector<double> Model<Real>::hidden_state(int s) const {
    const int S = sublayer_count();
    // a model for inference holds the last two
    CHECK(s == 0 || s + 1 >= S || act_.sublayers[s - 1].y != act_.sublayers[s + 1].y);
    const Real* const x = s > S ? act_.last : hidden(s);
    return download_as_double<Real>(x, size_t(rows()) * config_.width);
}

template <class Real>
void Model<Real>::perturb([[maybe_unused]] Real* y, [[maybe_unused]] size_t n) {
    if constexpr (std::is_same_v<Real, double>) {
        if (perturbation_ == 0) return;
        for (size_t i = 0; i < n; i++) {
            y[i] *= 1 + (perturbation_rng_.below(2) ? perturbation_ : -perturbation_);
            y[i] -= y[i] > least_ ? least_ : y[i] < -least_ ? -least_ : y[i];
        }
    }
}

template class Model<double>;
template class Model<float>;
template class Model<bf16>;
template class Model<fp16>;
template MemoryPlan plan_memory<double>(const ModelConfig&, int, int, int, Purpose, int);
template MemoryPlan plan_memory<float>(const ModelConfig&, int, int, int, Purpose, int);
template MemoryPlan plan_memory<bf16>(const ModelConfig&, int, int, int, Purpose, int);
template MemoryPlan plan_memory<fp16>(const ModelConfig&, int, int, int, Purpose, int);

}  // namespace peri
