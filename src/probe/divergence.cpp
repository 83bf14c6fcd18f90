#include "probe/divergence.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace peri {

namespace {

constexpr int patience = 50;  // steps

std::string number(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", x);
    return text;
}

}  // namespace

DivergenceWatch::DivergenceWatch(int vocab, int64_t warmup_steps)
    : limit_(std::log(vocab) + 1), warmup_steps_(warmup_steps) {}

std::string DivergenceWatch::after(int64_t step, double loss, double gradient_norm, bool scaled) {
    if (!std::isfinite(loss)) return "the loss is " + number(loss);
    skipped_ = std::isfinite(gradient_norm) ? 0 : skipped_ + 1;
    if (skipped_ > 0 && !scaled) return "the gradient norm is " + number(gradient_norm);
    if (skipped_ == patience)
        return "no gradient has been finite for " + std::to_string(patience) + " steps";
    above_ = step > warmup_steps_ && loss > limit_ ? above_ + 1 : 0;
    if (above_ < patience) return "";
    return "the loss has been above ln V + 1 = " + number(limit_) + " for " +
           std::to_string(patience) + " steps";
}

namespace {

std::string place(int s) {
    if (s == 0) return "the embedding";
    return (s % 2 ? "attention of layer " : "the MLP of layer ") + std::to_string((s - 1) / 2);
}

// Of fp16, where a number first went beyond its largest: "behind" a sub-layer lies infinity, "inside of" it was if a
// norm has made NaN of it. "" if nowhere.
std::string where_beyond(const std::vector<double>& state, int s) {
    if (std::ranges::all_of(state, [](double x) { return std::isfinite(x); })) return "";
    const bool infinite = std::ranges::any_of(state, [](double x) { return std::isinf(x); });
    return std::string("the first number beyond 65,504, fp16's largest, is ") +
           (infinite || s == 0 ? "behind " : "inside of ") + place(s);
}

}  // namespace

template <class Real>
std::string largest_hidden_state(const Model<Real>& model) {
    double largest = -1;
    int where = 0;
    for (int s = 0; s <= model.sublayer_count() && !std::isnan(largest); s++) {
        const std::vector<double> state = model.hidden_state(s);
        const std::string beyond = std::is_same_v<Real, fp16> ? where_beyond(state, s) : "";
        if (!beyond.empty()) return beyond;
        for (const double x : state) {
            if (std::abs(x) <= largest) continue;  // false for NaN
            largest = std::abs(x);
            where = s;
            if (std::isnan(x)) break;
        }
    }
    return "the largest |x| of the hidden state is " + number(largest) + ", behind " + place(where);
}

template std::string largest_hidden_state(const Model<float>&);
template std::string largest_hidden_state(const Model<bf16>&);
template std::string largest_hidden_state(const Model<fp16>&);
template std::string largest_hidden_state(const Model<double>&);

}  // namespace peri
