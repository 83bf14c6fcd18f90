#include "probe/sharpness.h"

#include <cmath>
#include <numeric>

#include "accumulate.h"
#include "check.h"
#include "comm.h"

namespace peri {

namespace {

using Numbers = std::vector<double>;

double dot(const Numbers& a, const Numbers& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// (g(+h v) - g(-h v)) / 2h with h |v| = away
Numbers difference(const std::function<Numbers(const Numbers&)>& gradient_at, const Numbers& v) {
    const double h = Curvature::away / std::sqrt(dot(v, v));
    Numbers there = v;
    for (double& x : there) x *= h;
    const Numbers ahead = gradient_at(there);
    for (double& x : there) x = -x;
    Numbers product = gradient_at(there);
    for (size_t i = 0; i < product.size(); i++) product[i] = (ahead[i] - product[i]) / (2 * h);
    return product;
}

std::vector<int> trained(const TensorTable& table) {
    std::vector<int> ids;
    for (int id = 0; id < static_cast<int>(table.rows.size()); id++)
        if (table.rows[id].trained) ids.push_back(id);
    return ids;
}

ModelConfig unrounded(ModelConfig config) {
    config.fake_quant = {};  // steps have no curvature
    config.recompute = Recompute::none;
    return config;
}

}  // namespace

// Of the matrix with `diagonal`, and `beside` above and below it: how many are below x, by the signs of its leading
// minors' quotients (Sturm).
int eigenvalues_below(double x, const Numbers& diagonal, const Numbers& beside) {
    int below = 0;
    double quotient = 1;
    for (size_t i = 0; i < diagonal.size(); i++) {
        const double above = i == 0 ? 0 : beside[i - 1] * beside[i - 1];
        quotient = diagonal[i] - x - above / (quotient == 0 ? 1e-300 : quotient);
        below += quotient < 0;
    }
    return below;
}

// Its eigenvalue number `index`, from the smallest on, by halving an interval that holds all.
double eigenvalue(int index, const Numbers& diagonal, const Numbers& beside) {
    double reach = 0;
    for (size_t i = 0; i < diagonal.size(); i++)
        reach = std::max(reach, std::abs(diagonal[i]) + (i > 0 ? beside[i - 1] : 0) +
                                    (i + 1 < diagonal.size() ? beside[i] : 0));
    double low = -reach, high = reach;
    for (int i = 0; i < 60; i++) {
        const double middle = (low + high) / 2;
        (eigenvalues_below(middle, diagonal, beside) > index ? high : low) = middle;
    }
    return (low + high) / 2;
}

// Lanczos: in the basis of v, Hv, H^2 v, ..., made orthonormal, the matrix has three diagonals, whose extreme
// eigenvalues come to its own. That the basis loses its orthogonality by rounding only repeats some of them.
Ends extreme_eigenvalues(const std::function<Numbers(const Numbers&)>& times, size_t n,
                         uint64_t seed, double tolerance, int most) {
    Rng rng(seed);
    Numbers v(n), before(n), diagonal, beside;
    for (double& x : v) x = rng.normal();
    const double length = std::sqrt(dot(v, v));
    for (double& x : v) x /= length;
    Ends ends = {NAN, NAN};
    for (int done = 0, settled = 0; done < most && settled < 2; done++) {
        Numbers next = times(v);
        const double along = dot(next, v), back = beside.empty() ? 0 : beside.back();
        if (!std::isfinite(along)) return {NAN, NAN};
        for (size_t i = 0; i < n; i++) next[i] -= along * v[i] + back * before[i];
        diagonal.push_back(along);
        const Ends now = {eigenvalue(0, diagonal, beside), eigenvalue(done, diagonal, beside)};
        const double size = std::max(-now.smallest, now.largest);
        const bool rests = std::abs(now.smallest - ends.smallest) <= tolerance * size &&
                           std::abs(now.largest - ends.largest) <= tolerance * size;
        settled = rests ? settled + 1 : 0;
        ends = now;
        beside.push_back(std::sqrt(dot(next, next)));
        if (beside.back() <= 1e-14 * size) break;  // the basis is whole
        for (double& x : next) x /= beside.back();
        before.swap(v);
        v.swap(next);
    }
    return ends;
}

// ---- the model in double ------------------------------------------------------------------------

template <class Real>
Curvature::Curvature(const Model<Real>& model, const Batch& batch)
    : batch_(batch), model_(unrounded(model.config()), batch.B, batch.T) {
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        model_.set_values(id, model.values(id));
    for (const int id : trained(model_.table())) {
        const Numbers values = model.values(id);
        weights_.insert(weights_.end(), values.begin(), values.end());
    }
}

void Curvature::set(const Numbers& weights) {
    CHECK(weights.size() == weights_.size());
    auto next = weights.begin();
    for (const int id : trained(model_.table())) {
        const auto end = next + static_cast<std::ptrdiff_t>(model_.table().rows[id].size());
        model_.set_values(id, {next, end});
        next = end;
    }
}

Numbers Curvature::gradient(const Numbers& weights) {
    set(weights);
    model_.zero_gradients();
    forward_backward(model_, batch_, batch_.B);
    Numbers all;
    for (const int id : trained(model_.table())) {
        const Numbers values = model_.gradient_values(id);
        all.insert(all.end(), values.begin(), values.end());
    }
    return all;
}

Numbers Curvature::times(const Numbers& v) {
    const auto at = [&](const Numbers& offset) {
        Numbers there = weights_;
        for (size_t i = 0; i < there.size(); i++) there[i] += offset[i];
        return gradient(there);
    };
    Numbers product = difference(at, v);
    set(weights_);
    return product;
}

size_t Curvature::state_size() const { return batch_.tokens.size() * model_.config().width; }

// The state is changed when it is there and before it is read: double lies in the host's memory.
Numbers Curvature::state_gradient(int s, const Numbers& added) {
    model_.load(batch_);
    model_.zero_gradients();
    model_.forward([&](const Passed<double>& passed) {
        if (passed.s != s) return;
        const Activations<double>& act = model_.activations();
        double* const x = s == 0 ? act.x0 : act.sublayers[s - 1].y;
        for (size_t i = 0; i < added.size(); i++) x[i] += added[i];
    });
    Numbers gradient;
    model_.backward(target_count(batch_), [&](const Passed<double>& passed) {
        if (passed.s == s) gradient.assign(passed.hidden, passed.hidden + state_size());
    });
    return gradient;
}

Numbers Curvature::state_times(int s, const Numbers& v) {
    return difference([&](const Numbers& added) { return state_gradient(s, added); }, v);
}

// ---- along training -----------------------------------------------------------------------------

template <class Real>
Numbers adam_scale(const Model<Real>& model, const Optimizer<Real>& optimizer,
                   const OptimizerSettings& settings) {
    Numbers all;
    const int updates = optimizer.steps() - model.loss_scale().skipped;
    if (settings.sgd || updates == 0 || comm::size() > 1) return all;
    const double bias = 1 - std::pow(settings.beta2, updates);
    for (const auto& state : optimizer.state()) {
        if (!state.name.starts_with("v.")) continue;
        for (const double v : download_as_double<Real>(state.numbers, state.bounds.back()))
            all.push_back(std::sqrt(v / bias) + settings.eps);
    }
    return all;
}

template <class Real>
std::vector<Measurement> sharpness(const Model<Real>& model, const Optimizer<Real>& optimizer,
                                   const OptimizerSettings& settings, const Batch& batch) {
    Curvature curvature(model, batch);
    std::vector<Measurement> rows;
    const auto ends = [](const auto& times, size_t n) {
        return extreme_eigenvalues(times, n, 1, 1e-3, 100);
    };
    const auto times = [&](const Numbers& v) { return curvature.times(v); };
    const Ends whole = ends(times, curvature.weight_count());
    rows.push_back({Measurement::whole_model, "sharpness", whole.largest});
    rows.push_back({Measurement::whole_model, "sharpness_least", whole.smallest});
    if (Numbers root = adam_scale(model, optimizer, settings); !root.empty()) {
        for (double& p : root) p = 1 / std::sqrt(p);
        const auto scaled = [&](Numbers v) {
            for (size_t i = 0; i < v.size(); i++) v[i] *= root[i];
            Numbers product = curvature.times(v);
            for (size_t i = 0; i < v.size(); i++) product[i] *= root[i];
            return product;
        };
        rows.push_back({Measurement::whole_model, "sharpness_adam",
                        ends(scaled, curvature.weight_count()).largest});
    }
    const int S = model.sublayer_count();
    for (const int s : {0, S / 2, S}) {
        const auto of_state = [&](const Numbers& v) { return curvature.state_times(s, v); };
        const Ends found = ends(of_state, curvature.state_size());
        rows.push_back({s, "hidden_sharpness", std::max(-found.smallest, found.largest)});
    }
    return rows;
}

#define INSTANTIATE(Real)                                                                   \
    template Curvature::Curvature(const Model<Real>&, const Batch&);                        \
    template Numbers adam_scale(const Model<Real>&, const Optimizer<Real>&,                 \
                                const OptimizerSettings&);                                  \
    template std::vector<Measurement> sharpness(const Model<Real>&, const Optimizer<Real>&, \
                                                const OptimizerSettings&, const Batch&);
INSTANTIATE(double)
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
