#include "optimizer.h"

#include "kernels.h"

namespace peri {

template <class T>
Optimizer<T>::Optimizer(Model<T>& model, const OptimizerSettings& settings)
    : model_(model),
      settings_(settings),
      m_(model.table().gradient_numbers() * sizeof(Accum<T>)),
      v_(settings.sgd ? 0 : model.table().gradient_numbers() * sizeof(Accum<T>)),
      scalars_(3 * sizeof(double)) {}

template <class T>
void Optimizer<T>::step(double lr) {
    steps_++;
    double* const sum = scalars_.template at<double>();
    double* const norm = sum + 1;
    Accum<T>* const scale = reinterpret_cast<Accum<T>*>(sum + 2);
    sum_of_squares<T>(sum, model_.all_gradients(), model_.table().gradient_numbers());
    clip_scale<T>(norm, scale, sum, settings_.clip);

    for (int id = 0; id < static_cast<int>(model_.table().rows.size()); id++) {
        const Tensor& tensor = model_.table().rows[id];
        if (!tensor.trained) continue;
        const double decay = tensor.decayed ? settings_.weight_decay : 0;
        const auto update = [&]<class Weight>(Weight* w) {
            Accum<T>* const m = m_.template at<Accum<T>>() + tensor.offset;
            Accum<T>* const g = model_.gradient(id);
            if (settings_.sgd) {
                sgd_update<Weight>(w, m, g, scale, tensor.size(), {lr, settings_.momentum, decay});
            } else {
                Accum<T>* const v = v_.template at<Accum<T>>() + tensor.offset;
                adamw_update<Weight>(
                    w, m, v, g, scale, tensor.size(),
                    {lr, settings_.beta1, settings_.beta2, settings_.eps, decay, steps_});
            }
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
    device_download<T>(&norm, scalars_.template at<double>() + 1, sizeof norm);
    return norm;
}

template class Optimizer<double>;
template class Optimizer<float>;

}  // namespace peri
