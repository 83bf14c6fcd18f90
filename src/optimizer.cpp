#include "optimizer.h"

#include "kernels.h"

namespace peri {

template <class T>
Optimizer<T>::Optimizer(Model<T>& model, const OptimizerSettings& settings)
    : model_(model),
      settings_(settings),
      m_(model.table().gradient_numbers() * sizeof(Accum<T>)),
      v_(settings.sgd ? 0 : m_.bytes()),
      masters_(has_masters<T> ? m_.bytes() : 0),
      scalars_(sizeof(Scalars)) {
    if (!has_masters<T>) return;
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        if (master(id)) set_weights(id, model.values(id));
}

template <class T>
void Optimizer<T>::step(double lr) {
    steps_++;
    Scalars* const scalars = scalars_.template at<Scalars>();
    Accum<T>* const scale = &scalars->scale;
    sum_of_squares<T>(&scalars->sum, model_.all_gradients(), model_.table().gradient_numbers());
    clip_scale<T>(&scalars->norm, scale, &scalars->sum, settings_.clip);

    for (int id = 0; id < static_cast<int>(model_.table().rows.size()); id++) {
        const Tensor& tensor = model_.table().rows[id];
        if (!tensor.trained) continue;
        const double decay = tensor.decayed ? settings_.weight_decay : 0;
        const auto part = [&](const Arena<T>& arena) {
            return arena.template at<Accum<T>>() + tensor.offset;
        };
        const auto update = [&]<class Weight>(Weight* w) {
            if (settings_.sgd)
                sgd_update<Weight>(w, master(id), part(m_), model_.gradient(id), scale,
                                   tensor.size(), {lr, settings_.momentum, decay});
            else
                adamw_update<Weight>(
                    w, master(id), part(m_), part(v_), model_.gradient(id), scale, tensor.size(),
                    {lr, settings_.beta1, settings_.beta2, settings_.eps, decay, steps_});
        };
        if (tensor.is_matrix())
            update(model_.matrix(id));
        else
            update(model_.vector(id));
    }
}

template <class T>
double Optimizer<T>::gradient_norm() const {
    double norm;
    device_download<T>(&norm, &scalars_.template at<Scalars>()->norm, sizeof norm);
    return norm;
}

template <class T>
std::vector<typename Optimizer<T>::State> Optimizer<T>::state() const {
    std::vector<State> all;
    for (int id = 0; id < static_cast<int>(model_.table().rows.size()); id++) {
        const Tensor& tensor = model_.table().rows[id];
        if (!tensor.trained) continue;
        const auto add = [&](const char* kind, const Arena<T>& arena) {
            all.push_back({std::string(kind) + "." + tensor.name, id,
                           arena.template at<Accum<T>>() + tensor.offset});
        };
        add("m", m_);
        if (!settings_.sgd) add("v", v_);
        if (has_masters<T> && tensor.is_matrix()) add("master", masters_);
    }
    return all;
}

template <class T>
Accum<T>* Optimizer<T>::master(int id) const {
    const Tensor& tensor = model_.table().rows[id];
    if (!has_masters<T> || !tensor.trained || !tensor.is_matrix()) return nullptr;
    return masters_.template at<Accum<T>>() + tensor.offset;
}

template <class T>
std::vector<double> Optimizer<T>::weights(int id) const {
    if (!master(id)) return model_.values(id);
    std::vector<Accum<T>> copy(model_.table().rows[id].size());
    device_download<T>(copy.data(), master(id), copy.size() * sizeof(Accum<T>));
    return {copy.begin(), copy.end()};
}

template <class T>
void Optimizer<T>::set_weights(int id, const std::vector<double>& values) {
    model_.set_values(id, values);
    if (!master(id)) return;
    const std::vector<Accum<T>> copy(values.begin(), values.end());
    device_upload<T>(master(id), copy.data(), copy.size() * sizeof(Accum<T>));
}

template class Optimizer<double>;
template class Optimizer<float>;
template class Optimizer<bf16>;

}  // namespace peri
