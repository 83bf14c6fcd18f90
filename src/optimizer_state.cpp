// Whose numbers are whose: the part of each tensor whose moments and master weights this process has.
#include <algorithm>

#include "optimizer.h"

namespace peri {

namespace {

// Where each process's part of a tensor begins: the pieces as the tensor's numbers.
comm::Bounds within(const Tensor& tensor, const comm::Bounds& pieces) {
    comm::Bounds bounds;
    for (const size_t piece : pieces)
        bounds.push_back(piece <= tensor.offset ? 0
                                                : std::min(piece - tensor.offset, tensor.size()));
    return bounds;
}

}  // namespace

template <class Real>
typename Optimizer<Real>::Part Optimizer<Real>::part(int id) const {
    const Tensor& tensor = model_.table().rows[id];
    if (!tensor.trained) return {};
    const comm::Bounds bounds = within(tensor, pieces_);
    const size_t first = bounds[comm::rank()];
    return {first, bounds[comm::rank() + 1] - first};
}

template <class Real>
Accum<Real>* Optimizer<Real>::of_part(const Arena<Real>& arena, int id) const {
    if (!arena.bytes()) return nullptr;
    const size_t first = model_.table().rows[id].offset + part(id).first;
    return arena.template at<Accum<Real>>() + (first - pieces_[comm::rank()]);
}

template <class Real>
std::vector<typename Optimizer<Real>::State> Optimizer<Real>::state() const {
    std::vector<State> all;
    for (int id = 0; id < static_cast<int>(model_.table().rows.size()); id++) {
        const Tensor& tensor = model_.table().rows[id];
        if (!tensor.trained) continue;
        const auto add = [&](const char* kind, const Arena<Real>& arena) {
            all.push_back({std::string(kind) + "." + tensor.name, id,
                           part(id).count ? of_part(arena, id) : nullptr, within(tensor, pieces_)});
        };
        add("m", m_);
        if (!settings_.sgd) add("v", v_);
        if (has_masters<Real> && tensor.is_matrix()) add("master", masters_);
    }
    return all;
}

template <class Real>
Accum<Real>* Optimizer<Real>::master(int id) const {
    const Tensor& tensor = model_.table().rows[id];
    if (!has_masters<Real> || !tensor.is_matrix() || part(id).count == 0) return nullptr;
    return of_part(masters_, id);
}

template <class Real>
std::vector<double> Optimizer<Real>::weights(int id) const {
    std::vector<double> values = model_.values(id);
    if (!master(id)) return values;
    const auto [first, count] = part(id);
    std::vector<Accum<Real>> copy(count);
    device_download<Real>(copy.data(), master(id), count * sizeof(Accum<Real>));
    std::copy(copy.begin(), copy.end(), values.begin() + first);
    return values;
}

template <class Real>
void Optimizer<Real>::set_weights(int id, const std::vector<double>& values) {
    model_.set_values(id, values);
    if (!master(id)) return;
    const auto [first, count] = part(id);
    const std::vector<Accum<Real>> copy(values.begin() + first, values.begin() + first + count);
    device_upload<Real>(master(id), copy.data(), copy.size() * sizeof(Accum<Real>));
}

#define INSTANTIATE(Real)                                                          \
    template Optimizer<Real>::Part Optimizer<Real>::part(int) const;               \
    template Accum<Real>* Optimizer<Real>::of_part(const Arena<Real>&, int) const; \
    template std::vector<Optimizer<Real>::State> Optimizer<Real>::state() const;   \
    template Accum<Real>* Optimizer<Real>::master(int) const;                      \
    template std::vector<double> Optimizer<Real>::weights(int) const;              \
    template void Optimizer<Real>::set_weights(int, const std::vector<double>&);
INSTANTIATE(double)
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
