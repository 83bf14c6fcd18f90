#include "probe/probe.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "probe/growth.h"
#include "probe/statistics.h"

namespace peri {

namespace {

using Numbers = std::vector<double>;

constexpr int farthest = 24;  // layers between two whose angular distance is measured
constexpr size_t largest_count = 100;
constexpr size_t outliers_of(int C) { return std::max(1, C / 100); }  // channels

// Measures while the model runs. States are numbered 0 .. S, sub-layer s lies before state s.
template <class Real>
class Prober {
  public:
    explicit Prober(Model<Real>& model)
        : model_(model),
          S_(model.sublayer_count()),
          C_(model.config().width),
          unscale_(1.0 / model.loss_scale().scale),
          sublayers_(sublayers(model.config().placement)) {}

    std::vector<Measurement> run(const Batch& batch) {
        const bool trained = model_.all_gradients();
        model_.load(batch);
        model_.forward([&](const Passed<Real>& passed) { state_is_there(passed); });
        if (trained) {
            model_.zero_loss();
            model_.zero_gradients();
            model_.backward(std::max<double>(1, static_cast<double>(target_count(batch))),
                            [&](const Passed<Real>& passed) { gradient_is_there(passed); });
        }
        add_growth();
        add_angles();
        add_largest();
        if (trained) add_weight_gradients();
        add_gammas();
        return std::move(rows_);
    }

  private:
    void add(int layer, const std::string& quantity, double value) {
        rows_.push_back({layer, quantity, value});
    }

    // ---- forward --------------------------------------------------------------------------------

    void state_is_there(const Passed<Real>& passed) {
        const int s = passed.s;
        const Numbers x = std::move(state_);
        state_ = download(passed.hidden, size_t(model_.rows()) * C_);
        variances_.push_back(token_variance(state_, C_));
        add(s, "hidden_mean_abs", mean_abs(state_));
        add(s, "hidden_variance", variances_.back());
        add(s, "beyond_fp16", static_cast<double>(beyond_fp16(state_)));
        add(s, "not_finite", static_cast<double>(not_finite(state_)));
        add(s, "hidden_largest", largest_abs(state_));
        const Numbers energy = column_squares(state_, C_);
        add(s, "outlier_share", share_of_largest(energy, outliers_of(C_)));
        add(s, "outlier_kurtosis", kurtosis(energy));
        largest_.add(state_, s);
        if (s % 2 == 0) layer_states_.push_back(state_);
        if (s > 0) add_terms(passed, x);
        if (s == S_) keep_reach(passed);
    }

    // The terms of Eq. 4 at the sub-layer that read x.
    void add_terms(const Passed<Real>& passed, const Numbers& x) {
        const Numbers a = output(passed);
        const double alpha = sublayers_[passed.s - 1].alpha;
        add(passed.s, "output_variance", token_variance(a, C_));
        add(passed.s, "residual_covariance", 2 * alpha * token_covariance(x, a, C_));
    }

    // a~ = B ? Norm(a) : a, in double: adding it to x rounds it away
    Numbers output(const Passed<Real>& passed) const {
        const NormIds norm = model_.table().sublayers[passed.s - 1].output_norm;
        const NormStats<Real>& stats = passed.output_norm;
        Numbers a = download(passed.a, state_.size());
        if (!norm) return a;
        const Numbers gamma = model_.values(norm.gamma), rstd = download(stats.rstd, tokens());
        const Numbers beta = norm.beta >= 0 ? model_.values(norm.beta) : Numbers(C_);
        const Numbers mean = stats.mean ? download(stats.mean, tokens()) : Numbers(tokens());
        for (size_t i = 0; i < a.size(); i++) {
            const size_t t = i / C_, c = i % C_;
            a[i] = gamma[c] * (a[i] - mean[t]) * rstd[t] + beta[c];
        }
        return a;
    }

    // |J_t| |h_t| of the last MLP's tokens. dL/dW_down = sum_t h_t^T dL/da_t, and dL/da_t = dL/do_t
    // J_t with the Jacobian of the output norm, whose spectral norm is at most max|gamma| rstd_t
    // (RMSNorm: Eq. 33, where twice that is given; LayerNorm: what it subtracts more is a
    // projection). Without an output norm J_t is 1.
    void keep_reach(const Passed<Real>& passed) {
        const NormIds norm = model_.table().sublayers.back().output_norm;
        reach_ = row_norms(download(passed.h, tokens() * model_.config().ffn), model_.config().ffn);
        if (!norm) return;
        const double gamma = largest_abs(model_.values(norm.gamma));
        const Numbers rstd = download(passed.output_norm.rstd, tokens());
        for (size_t t = 0; t < reach_.size(); t++) reach_[t] *= gamma * rstd[t];
    }

    // ---- backward -------------------------------------------------------------------------------

    void gradient_is_there(const Passed<Real>& passed) {
        const int s = passed.s;
        const Numbers dx = gradient(passed.hidden);
        add(s, "hidden_gradient_norm", norm(dx));
        add(s, "hidden_gradient_variance", variance(dx));
        // dL/do of the last sub-layer: without a norm at C it is dL/dy
        const bool normed = sublayers_.back().main_norm;
        if (!normed && s == S_) add_bound(dx);
        if (normed && s == S_ - 1) add_bound(gradient(passed.d_o));
    }

    Numbers gradient(const Real* numbers) const {
        Numbers values = download(numbers, state_.size());
        for (double& value : values) value *= unscale_;
        return values;
    }

    void add_bound(const Numbers& d_o) {
        const Numbers norms = row_norms(d_o, C_);
        double bound = 0;
        for (size_t t = 0; t < norms.size(); t++) bound += norms[t] * reach_[t];
        add(Measurement::whole_model, "last_layer_bound", bound);
    }

    // ---- after both -----------------------------------------------------------------------------

    void add_growth() {
        const Growth g = growth(variances_);
        add(Measurement::whole_model, "growth_linear_slope", g.linear_slope);
        add(Measurement::whole_model, "growth_linear_error", g.linear_error);
        add(Measurement::whole_model, "growth_exponential_rate", g.exponential_rate);
        add(Measurement::whole_model, "growth_exponential_error", g.exponential_error);
    }

    void add_angles() {
        const int L = S_ / 2;
        for (int n = 1; n <= std::min(L, farthest); n++)
            for (int l = 0; l + n <= L; l++)
                add(l, "angular_distance_" + std::to_string(n),
                    angular_distance(layer_states_[l], layer_states_[l + n], C_));
    }

    void add_largest() {
        int rank = 0;
        for (const Largest::Entry& entry : largest_.sorted()) {
            char name[32];
            std::snprintf(name, sizeof name, "largest_%03d", ++rank);
            add(entry.state, name, entry.size);
        }
    }

    void add_weight_gradients() {
        for (int s = 1; s <= S_; s++) {
            const SubLayerIds& ids = model_.table().sublayers[s - 1];
            Numbers all;
            for (const int id : {ids.q, ids.k, ids.v, ids.o, ids.gate, ids.up, ids.down}) {
                if (id < 0) continue;
                const Numbers dw = model_.gradient_values(id);
                all.insert(all.end(), dw.begin(), dw.end());
            }
            add(s, "weight_gradient_norm", norm(all));
            add(s, "weight_gradient_variance", variance(all));
        }
        const int down = model_.table().sublayers.back().down;
        add(Measurement::whole_model, "last_layer_gradient", norm(model_.gradient_values(down)));
    }

    void add_gammas() {
        for (int s = 1; s <= S_; s++) {
            const NormIds norm = model_.table().sublayers[s - 1].output_norm;
            if (!norm) continue;
            const Numbers gamma = model_.values(norm.gamma);
            add(s, "output_gamma_mean", mean(gamma));
            add(s, "output_gamma_min", smallest(gamma));
            add(s, "output_gamma_std", std::sqrt(variance(gamma)));
        }
    }

    size_t tokens() const { return state_.size() / C_; }

    template <class Number>
    static Numbers download(const Number* numbers, size_t n) {
        return download_as_double<Real>(numbers, n);
    }

    Model<Real>& model_;
    const int S_, C_;
    const double unscale_;  // gradients pass by as large as --loss-scale makes them
    const std::vector<SubLayer> sublayers_;
    std::vector<Measurement> rows_;
    Numbers state_;                      // the latest, (R,C)
    Numbers variances_;                  // of the states so far
    std::vector<Numbers> layer_states_;  // what enters each layer, and what leaves the last one
    Largest largest_{largest_count};
    Numbers reach_;  // (R) |J_t| |h_t|
};

}  // namespace

template <class Real>
std::vector<double> hidden_variance(Model<Real>& model, const Batch& batch) {
    model.load(batch);
    model.forward();
    Numbers profile;
    for (int s = 0; s <= model.sublayer_count(); s++)
        profile.push_back(token_variance(model.hidden_state(s), model.config().width));
    return profile;
}

template <class Real>
std::vector<Measurement> measure(Model<Real>& model, const Batch& batch) {
    return Prober<Real>(model).run(batch);
}

std::string csv_row(int64_t step, const Measurement& m) {
    const std::string layer = m.layer == Measurement::whole_model ? "" : std::to_string(m.layer);
    char value[32];
    std::snprintf(value, sizeof value, "%.9g", std::isnan(m.value) ? NAN : m.value);  // no "-nan"
    return std::to_string(step) + "," + layer + "," + m.quantity + "," + value;
}

#define INSTANTIATE(Real)                                                     \
    template std::vector<double> hidden_variance(Model<Real>&, const Batch&); \
    template std::vector<Measurement> measure(Model<Real>&, const Batch&);
INSTANTIATE(double)
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
