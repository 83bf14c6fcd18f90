#include "optimizer.h"

#include "kernels.h"

namespace peri {

template <class Real>
Optimizer<Real>::Optimizer(Model<Real>& model, const OptimizerSettings& settings)
    : model_(model),
      settings_(settings),
      m_(model.table().gradient_numbers() * sizeof(Accum<Real>)),
      v_(settings.sgd ? 0 : m_.bytes()),
      masters_(has_masters<Real> ? m_.bytes() : 0),
      scalars_(sizeof(Scalars)) {
    if (!has_masters<Real>) return;
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        if (master(id)) set_weights(id, model.values(id));
}

template <class Real>
void Optimizer<Real>::step(double lr) {
    steps_++;
    Scalars* const scalars = scalars_.template at<Scalars>();
    Accum<Real>* const scale = &scalars->scale;
    sum_of_squares<Real>(&scalars->sum, model_.all_gradients(), model_.table().gradient_numbers());
    clip_scale<Real>(&scalars->norm, scale, &scalars->sum, settings_.clip);

    for (int id = 0; id < static_cast<int>(model_.table().rows.size()); id++) {
        const Tensor& tensor = model_.table().rows[id];
        if (!tensor.trained) continue;
        const double decay = tensor.decayed ? settings_.weight_decay : 0;
        const auto part = [&](const Arena<Real>& arena) {
            return arena.template at<Accum<Real>>() + tensor.offset;
        };
        const auto update = [&]<class Weight>(Weight* w) {
            if (settings_.sgd)
                sgd_update<Weight>(w, master(id), part(m_), model_.gradient(id), scale,
                                   tensor.size(), {lr, settings_.momentum, decay});
            else
                adamw_update<Weight>(w, master(id), part(m_), part(v_), model_.gradient(id), scale,
                                     tensor.size(),
                                     {.lr = lr,
                                      .beta1 = settings_.beta1,
                                      .beta2 = settings_.beta2,
                                      .eps = settings_.eps,
                                      .weight_decay = decay,
                                      .step = steps_});
        };
        model_.visit(id, update);
    }
}

template <class Real>
double Optimizer<Real>::gradient_norm() const {
    double norm;
    device_download<Real>(&norm, &scalars_.template at<Scalars>()->norm, sizeof norm);
    return norm;
}

template <class Real>
std::vector<typename Optimizer<Real>::State> Optimizer<Real>::state() const {
    std::vector<State> all;
    for (int id = 0; id < static_cast<int>(model_.table().rows.size()); id++) {
        const Tensor& tensor = model_.table().rows[id];
        if (!tensor.trained) continue;
        const auto add = [&](const char* kind, const Arena<Real>& arena) {
            all.push_back({std::string(kind) + "." + tensor.name, id,
                           arena.template at<Accum<Real>>() + tensor.offset});
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
    if (!has_masters<Real> || !tensor.trained || !tensor.is_matrix()) return nullptr;
    return masters_.template at<Accum<Real>>() + tensor.offset;
}

template <class Real>
std::vector<double> Optimizer<Real>::weights(int id) const {
    if (!master(id)) return model_.values(id);
    std::vector<Accum<Real>> copy(model_.table().rows[id].size());
    device_download<Real>(copy.data(), master(id), copy.size() * sizeof(Accum<Real>));
    return {copy.begin(), copy.end()};
}

template <class Real>
void Optimizer<Real>::set_weights(int id, const std::vector<double>& values) {
    model_.set_values(id, values);
    if (!master(id)) return;
    const std::vector<Accum<Real>> copy(values.begin(), values.end());
    device_upload<Real>(master(id), copy.data(), copy.size() * sizeof(Accum<Real>));
}

template class Optimizer<double>;
template class Optimizer<float>;
template class Optimizer<bf16>;

}  // namespace peri
