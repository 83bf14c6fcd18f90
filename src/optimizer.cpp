#include "optimizer.h"

#include <algorithm>

#include "kernels.h"
#include "profile.h"

namespace peri {

namespace {

// Whole blocks of the norm's sum (kernels.h), as many to each process.
comm::Bounds shared_out(size_t numbers) {
    const size_t blocks = square_blocks(numbers), ranks = comm::size();
    comm::Bounds bounds;
    for (size_t r = 0; r <= ranks; r++)
        bounds.push_back(std::min(numbers, blocks * r / ranks * square_block));
    return bounds;
}

}  // namespace

template <class Real>
Optimizer<Real>::Optimizer(Model<Real>& model, const OptimizerSettings& settings)
    : model_(model),
      settings_(settings),
      pieces_(shared_out(model.table().gradient_numbers())),
      m_((pieces_[comm::rank() + 1] - pieces_[comm::rank()]) * sizeof(Accum<Real>)),
      v_(settings.sgd ? 0 : m_.bytes()),
      masters_(has_masters<Real> ? m_.bytes() : 0),
      sums_(square_blocks(pieces_.back()) * sizeof(double)),
      scalars_(sizeof(Scalars)) {
    if (!has_masters<Real>) return;
    for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
        if (master(id)) set_weights(id, model.values(id));
}

template <class Real>
void Optimizer<Real>::step(double lr) {
    steps_++;
    comm::reduce_scatter<Real>(model_.all_gradients(), pieces_);
    find_norm();
    const Accum<Real>* const scale = &scalars_.template at<Scalars>()->scale;
    const int updates = steps_ - model_.loss_scale().skipped;  // skipped steps do not count
    for (int id = 0; id < static_cast<int>(model_.table().rows.size()); id++) {
        const Part mine = part(id);
        if (mine.count == 0) continue;
        const double decay = model_.table().rows[id].decayed ? settings_.weight_decay : 0;
        const Accum<Real>* const g = model_.gradient(id) + mine.first;
        Accum<Real>*const m = of_part(m_, id), *const v = of_part(v_, id);
        model_.visit(id, [&]<class Weight>(Weight* w) {
            const Timed<Real> timed(settings_.sgd ? "sgd_update" : "adamw_update",
                                    update_work<Weight>(mine.count, settings_.moments()));
            if (settings_.sgd)
                sgd_update<Weight>(w + mine.first, master(id), m, g, scale, mine.count,
                                   {lr, settings_.momentum, decay});
            else
                adamw_update<Weight>(
                    w + mine.first, master(id), m, v, g, scale, mine.count,
                    {lr, settings_.beta1, settings_.beta2, settings_.eps, decay, updates});
        });
    }
    share_weights();
}

// The norm of the gradients of all, and what clipping multiplies them by.
template <class Real>
void Optimizer<Real>::find_norm() {
    Scalars* const scalars = scalars_.template at<Scalars>();
    double* const sums = sums_.template at<double>();
    const size_t begin = pieces_[comm::rank()], end = pieces_[comm::rank() + 1];
    if (end > begin) {
        const Timed<Real> timed("sum_of_squares", sum_of_squares_work<Real>(end - begin));
        sum_of_squares<Real>(sums + begin / square_block, model_.all_gradients() + begin,
                             end - begin);
    }
    comm::Bounds bytes;
    for (const size_t piece : pieces_) bytes.push_back(square_blocks(piece) * sizeof(double));
    comm::all_gather<Real>(sums, bytes);
    const Timed<Real> timed("clip_scale", {});
    clip_scale<Real>(&scalars->norm, &scalars->scale, model_.device_loss_scale(), sums,
                     square_blocks(pieces_.back()), settings_.clip);
}

template <class Real>
void Optimizer<Real>::share_weights() {
    comm::Bounds bytes;
    for (const size_t piece : pieces_) bytes.push_back(model_.weight_byte(piece));
    comm::all_gather<Real>(model_.all_weights(), bytes);
}

template <class Real>
double Optimizer<Real>::gradient_norm() const {
    double norm;
    device_download<Real>(&norm, &scalars_.template at<Scalars>()->norm, sizeof norm);
    return norm;
}

template class Optimizer<double>;
template class Optimizer<float>;
template class Optimizer<bf16>;
template class Optimizer<fp16>;

}  // namespace peri
