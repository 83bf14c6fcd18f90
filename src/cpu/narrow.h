// Rows of numbers on their way to float and back. bf16's conversions become vector code by themselves; those of fp16 are
// the processor's own where it has them (F16C, aarch64), several times as fast and to the same bits.
#pragma once

#if defined(__F16C__)
#include <immintrin.h>
#elif defined(__ARM_FP16_FORMAT_IEEE)
#include <arm_neon.h>
#endif

#include "real.h"

namespace peri {

template <class Narrow>
inline void widen_row(float* y, const Narrow* x, int n) {
#pragma omp simd
    for (int i = 0; i < n; i++) y[i] = x[i];
}

template <class Narrow>
inline void round_row(Narrow* y, const float* x, int n) {
#pragma omp simd
    for (int i = 0; i < n; i++) y[i] = x[i];
}

#if defined(__F16C__)

inline void widen_row(float* y, const fp16* x, int n) {
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i,
                         _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
    for (; i < n; i++) y[i] = x[i];
}

inline void round_row(fp16* y, const float* x, int n) {
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) y[i] = x[i];
}

#elif defined(__ARM_FP16_FORMAT_IEEE)

inline void widen_row(float* y, const fp16* x, int n) {
    int i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(
            y + i,
            vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(x + i)))));
    for (; i < n; i++) y[i] = x[i];
}

inline void round_row(fp16* y, const float* x, int n) {
    int i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u16(reinterpret_cast<uint16_t*>(y + i),
                 vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    for (; i < n; i++) y[i] = x[i];
}

#endif

}  // namespace peri
