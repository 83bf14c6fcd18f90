#include "tree_accumulation.h"

#include <bit>

#include "accumulate.h"
#include "kernels.h"

namespace peri {

// As one counts in binary: a sum of 2^k micro-batches waits at k for the next of its size, and the two
// move on as one of 2^(k+1). What waits in the end is added from the smallest to the largest.

template <class Real>
int TreeAccumulation<Real>::buffers(int micro_batches) {
    return std::bit_width(static_cast<unsigned>(micro_batches - 1));
}

template <class Real>
TreeAccumulation<Real>::TreeAccumulation(const Model<Real>& model, int micro_batches) {
    const size_t bytes = model.table().gradient_numbers() * sizeof(Accum<Real>);
    for (int k = 0; k < buffers(micro_batches); k++) sums_.push_back({Arena<Real>(bytes)});
}

// The model's gradient and this loss, with those that wait at k.
template <class Real>
double TreeAccumulation<Real>::add(Model<Real>& model, double loss, int k) const {
    using A = Accum<Real>;
    A* const gradients = model.all_gradients();
    residual_add<A>(gradients, sums_[k].gradients.template at<A>(), gradients, 1,
                    model.table().gradient_numbers());
    return sums_[k].loss + loss;
}

template <class Real>
double TreeAccumulation<Real>::forward_backward(Model<Real>& model, const Batch& batch, int micro,
                                                double divisor) {
    const std::vector<Batch> parts = micro_batches(batch, micro);
    double loss = 0;
    for (size_t i = 0; i < parts.size(); i++) {
        model.zero_loss();
        model.zero_gradients();
        peri::forward_backward(model, parts[i], micro, divisor);
        loss = model.loss();
        const bool last = i + 1 == parts.size();
        int k = 0;  // the digits of i are the sums that wait
        for (; last ? i >> k : i >> k & 1; k++)
            if (i >> k & 1) loss = add(model, loss, k);
        if (last) break;
        model.swap_gradients(sums_[k].gradients);
        sums_[k].loss = loss;
    }
    return loss;
}

template class TreeAccumulation<double>;
template class TreeAccumulation<float>;
template class TreeAccumulation<bf16>;
template class TreeAccumulation<fp16>;

}  // namespace peri
