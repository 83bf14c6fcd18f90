#include "few_bits.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "device.h"

namespace peri {

namespace {

// use(the format as a constant), so that loops over it become vector code.
template <class Use>
void with_constant(FewBits format, Use use) {
    [&]<int... f>(std::integer_sequence<int, f...>) {
        ((static_cast<int>(format) == f ? use(std::integral_constant<FewBits, FewBits(f)>())
                                        : void()),
         ...);
    }
    (std::make_integer_sequence<int, few_bits_formats>());
}

// largest[r] = the bits of the largest |x[r,c]|, largest[R] = of all
template <class Real>
void find_largest(uint32_t* largest, const Real* x, int R, int C) {
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++) {
        uint32_t most = 0;
#pragma omp simd reduction(max : most)
        for (int c = 0; c < C; c++)
            most = std::max(most, size_bits(static_cast<float>(x[size_t(r) * C + c])));
        largest[r] = most;
    }
    largest[R] = *std::max_element(largest, largest + R);
}

template <class Real, FewBits format>
void quantise_as(Real* y, const Real* x, const uint32_t* largest, int R, int C) {
#pragma omp parallel for schedule(static)
    for (int r = 0; r < R; r++) {
        const float step = levels(format) ? step_of(largest[one_step(format) ? R : r], format) : 0;
        for (size_t i = size_t(r) * C; i < size_t(r + 1) * C; i++)
            y[i] = rounded(static_cast<float>(x[i]), format, step);
    }
}

}  // namespace

template <class Real>
void quantise(Real* y, const Real* x, int R, int C, FewBits format) {
    uint32_t* largest = nullptr;
    if (levels(format)) {
        largest = static_cast<uint32_t*>(workspace<Real>(quantise_workspace(R)));
        find_largest(largest, x, R, C);
    }
    with_constant(format, [&](auto constant) {
        quantise_as<Real, decltype(constant)::value>(y, x, largest, R, C);
    });
}

template void quantise(double*, const double*, int, int, FewBits);
#ifndef BACKEND_ELSEWHERE
template void quantise(float*, const float*, int, int, FewBits);
template void quantise(bf16*, const bf16*, int, int, FewBits);
template void quantise(fp16*, const fp16*, int, int, FewBits);
#endif

}  // namespace peri
