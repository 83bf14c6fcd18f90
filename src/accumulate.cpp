#include "accumulate.h"

#include <algorithm>

namespace peri {

std::vector<Batch> micro_batches(const Batch& batch, int micro) {
    std::vector<Batch> parts;
    for (int first = 0; first < batch.B; first += micro)
        parts.push_back(slice(batch, first, std::min(micro, batch.B - first)));
    return parts;
}

template <class Real>
void forward_backward(Model<Real>& model, const Batch& batch, int micro, double divisor) {
    if (divisor == 0) divisor = std::max<double>(1, target_count(batch));
    for (const Batch& part : micro_batches(batch, micro)) {
        model.load(part);
        model.forward();
        model.backward(divisor);
    }
}

template <class Real>
void forward_evaluate(Model<Real>& model, const Batch& batch, int micro) {
    for (const Batch& part : micro_batches(batch, micro)) {
        model.load(part);
        model.forward();
        model.evaluate(1);
    }
}

#define INSTANTIATE(Real)                                                    \
    template void forward_backward(Model<Real>&, const Batch&, int, double); \
    template void forward_evaluate(Model<Real>&, const Batch&, int);
INSTANTIATE(double)
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
