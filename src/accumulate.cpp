#include "accumulate.h"

#include <algorithm>

namespace peri {

namespace {

template <class T, class Use>
void for_each_micro_batch(Model<T>& model, const Batch& batch, int micro, Use&& use) {
    for (int first = 0; first < batch.B; first += micro) {
        model.load(slice(batch, first, std::min(micro, batch.B - first)));
        model.forward();
        use();
    }
}

}  // namespace

template <class T>
void forward_backward(Model<T>& model, const Batch& batch, int micro) {
    const double labels = std::max<double>(1, label_count(batch));
    for_each_micro_batch(model, batch, micro, [&] { model.backward(labels); });
}

template <class T>
void forward_evaluate(Model<T>& model, const Batch& batch, int micro) {
    for_each_micro_batch(model, batch, micro, [&] { model.evaluate(1); });
}

#define INSTANTIATE(T)                                            \
    template void forward_backward(Model<T>&, const Batch&, int); \
    template void forward_evaluate(Model<T>&, const Batch&, int);
INSTANTIATE(double)
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace peri
