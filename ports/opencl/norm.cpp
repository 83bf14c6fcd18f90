#include "device.h"
#include "help/opencl.h"
#include "kernels.h"

EMBED(opencl_norm, "norm.cl");

namespace peri {

using namespace opencl;

namespace {

const File file = {"norm", opencl_norm_begin, opencl_norm_end};

constexpr int row_parts = 16;  // the rows are summed in so many parts, which are then added up

// dgamma and dbeta (C) accumulated, optional
template <class Real>
void add_parameter_gradients(Accum<Real>* dgamma, Accum<Real>* dbeta, const Real* dy, const Real* x,
                             const Accum<Real>* mean, const Accum<Real>* rstd, int R, int C) {
    if (!dgamma && !dbeta) return;
    auto* const partial = static_cast<Accum<Real>*>(workspace<Real>(norm_workspace<Real>(C)));
    auto* const partial_dy = dbeta ? partial + size_t(row_parts) * C : nullptr;
    launch<Real>(file, "sum_rows", groups_for(C) * row_parts, partial, partial_dy, dy, x, mean,
                 rstd, R, C, row_parts);
    if (dgamma) launch<Real>(file, "add_parts", groups_for(C), dgamma, partial, row_parts, C);
    if (dbeta) launch<Real>(file, "add_parts", groups_for(C), dbeta, partial_dy, row_parts, C);
}

}  // namespace

template <class Real>
size_t norm_workspace(int C) {
    return 2 * row_parts * size_t(C) * sizeof(Accum<Real>);
}

template <class Real>
void rmsnorm_forward(Real* y, Accum<Real>* rstd, const Real* x, const Accum<Real>* gamma, int R,
                     int C, Accum<Real> eps, Plus<Real> plus) {
    launch<Real>(file, "rmsnorm_forward", R, y, rstd, x, gamma, C, eps, plus.alpha, plus.z);
}

// The parameters' gradients come first: dx may lie where dy does.
template <class Real>
void rmsnorm_backward(Real* dx, Accum<Real>* dgamma, const Real* dy, const Real* x,
                      const Accum<Real>* gamma, const Accum<Real>* rstd, int R, int C,
                      Plus<Real> plus) {
    const Accum<Real>* const no_mean = nullptr;
    add_parameter_gradients<Real>(dgamma, nullptr, dy, x, no_mean, rstd, R, C);
    launch<Real>(file, "rmsnorm_backward", R, dx, dy, x, gamma, rstd, C, plus.alpha, plus.z);
}

template <class Real>
void layernorm_forward(Real* y, Accum<Real>* mean, Accum<Real>* rstd, const Real* x,
                       const Accum<Real>* gamma, const Accum<Real>* beta, int R, int C,
                       Accum<Real> eps, Plus<Real> plus) {
    launch<Real>(file, "layernorm_forward", R, y, mean, rstd, x, gamma, beta, C, eps, plus.alpha,
                 plus.z);
}

template <class Real>
void layernorm_backward(Real* dx, Accum<Real>* dgamma, Accum<Real>* dbeta, const Real* dy,
                        const Real* x, const Accum<Real>* gamma, const Accum<Real>* mean,
                        const Accum<Real>* rstd, int R, int C, Plus<Real> plus) {
    add_parameter_gradients<Real>(dgamma, dbeta, dy, x, mean, rstd, R, C);
    launch<Real>(file, "layernorm_backward", R, dx, dy, x, gamma, mean, rstd, C, plus.alpha,
                 plus.z);
}

#define INSTANTIATE(Real)                                                                          \
    template void rmsnorm_forward(Real*, Accum<Real>*, const Real*, const Accum<Real>*, int, int,  \
                                  Accum<Real>, Plus<Real>);                                        \
    template void rmsnorm_backward(Real*, Accum<Real>*, const Real*, const Real*,                  \
                                   const Accum<Real>*, const Accum<Real>*, int, int, Plus<Real>);  \
    template void layernorm_forward(Real*, Accum<Real>*, Accum<Real>*, const Real*,                \
                                    const Accum<Real>*, const Accum<Real>*, int, int, Accum<Real>, \
                                    Plus<Real>);                                                   \
    template void layernorm_backward(Real*, Accum<Real>*, Accum<Real>*, const Real*, const Real*,  \
                                     const Accum<Real>*, const Accum<Real>*, const Accum<Real>*,   \
                                     int, int, Plus<Real>);                                        \
    template size_t norm_workspace<Real>(int);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
