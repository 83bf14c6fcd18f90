#include <cmath>
#include <type_traits>

#include "device.h"
#include "help/opencl.h"
#include "kernels.h"

EMBED(opencl_optimizer, "optimizer.cl");

namespace peri {

using namespace opencl;

namespace {
const File file = {"optimizer", opencl_optimizer_begin, opencl_optimizer_end};
}

template <class Real>
void sum_of_squares(double* sums, const Accum<Real>* g, size_t n) {
    launch<Real>(file, "sum_of_squares", square_blocks(n), sums, g, n, square_block);
}

// By the host, since a device may have no double: a wait a step.
template <class Real>
void clip_scale(double* norm, Accum<Real>* scale, LossScale* loss_scale, const double* sums,
                size_t blocks, double max_norm) {
    double sum = 0;
    for (const double s : download_as_double<Real>(sums, blocks)) sum += s;
    LossScale of_loss = {1, 0, 0, 0};
    if (loss_scale) device_download<Real>(&of_loss, loss_scale, sizeof of_loss);
    const double unscale = 1.0 / of_loss.scale, n = std::sqrt(sum) * unscale;
    const double clip = max_norm > 0 && n > max_norm ? max_norm / n : 1;
    const Accum<Real> s = std::isfinite(n) ? static_cast<Accum<Real>>(clip * unscale)
                          : loss_scale     ? 0
                                           : NAN;
    if (loss_scale) {
        move_on(of_loss, std::isfinite(n));
        device_upload<Real>(loss_scale, &of_loss, sizeof of_loss);
    }
    device_upload<Real>(norm, &n, sizeof n);
    device_upload<Real>(scale, &s, sizeof s);
}

template <class Real>
void adamw_update(Real* w, Accum<Real>* master, Accum<Real>* m, Accum<Real>* v,
                  const Accum<Real>* g, const Accum<Real>* scale, size_t n, AdamW settings) {
    using A = Accum<Real>;
    const A beta1 = A(settings.beta1), beta2 = A(settings.beta2);
    const A unbias1 = A(1 / (1 - std::pow(settings.beta1, settings.step)));
    const A unbias2 = A(1 / (1 - std::pow(settings.beta2, settings.step)));
    launch<Real>(file, "adamw_update", groups_for(n), w, master, m, v, g, scale, n, A(settings.lr),
                 beta1, beta2, A(settings.eps), A(settings.weight_decay), unbias1, unbias2);
}

template <class Real>
void sgd_update(Real* w, Accum<Real>* master, Accum<Real>* m, const Accum<Real>* g,
                const Accum<Real>* scale, size_t n, Sgd settings) {
    using A = Accum<Real>;
    launch<Real>(file, "sgd_update", groups_for(n), w, master, m, g, scale, n, A(settings.lr),
                 A(settings.momentum), A(settings.weight_decay));
}

#define INSTANTIATE(Real)                                                                    \
    template void sum_of_squares<Real>(double*, const Accum<Real>*, size_t);                 \
    template void clip_scale<Real>(double*, Accum<Real>*, LossScale*, const double*, size_t, \
                                   double);                                                  \
    template void adamw_update(Real*, Accum<Real>*, Accum<Real>*, Accum<Real>*,              \
                               const Accum<Real>*, const Accum<Real>*, size_t, AdamW);       \
    template void sgd_update(Real*, Accum<Real>*, Accum<Real>*, const Accum<Real>*,          \
                             const Accum<Real>*, size_t, Sgd);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
