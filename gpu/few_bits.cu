#include "few_bits.h"

#include "device.h"
#include "parallel.h"

// A warp takes a row.

namespace peri {

// largest[r] = the bits of the largest |x[r,c]|
template <class Real>
__global__ void largest_of_rows_kernel(uint32_t* largest, const Real* x, int R, int C) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    uint32_t most = 0;
    for (int c = lane_of_thread(); c < C; c += warp_size) {
        const uint32_t size = size_bits(x[r * C + c]);
        most = size > most ? size : most;
    }
    most = warp_max(most);
    if (lane_of_thread() == 0) largest[r] = most;
}

// largest[R] = of all, by one warp
__global__ void largest_of_all_kernel(uint32_t* largest, int R) {
    uint32_t most = 0;
    for (int r = lane_of_thread(); r < R; r += warp_size)
        most = largest[r] > most ? largest[r] : most;
    most = warp_max(most);
    if (lane_of_thread() == 0) largest[R] = most;
}

//   numbers moved an entry: 2, and 1 with integers
template <class Real>
__global__ void quantise_kernel(Real* y, const Real* x, const uint32_t* largest, int R, int C,
                                FewBits format) {
    const size_t r = row_of_warp();
    if (r >= size_t(R)) return;
    const float step = levels(format) ? step_of(largest[one_step(format) ? R : r], format) : 0;
    for (int c = lane_of_thread(); c < C; c += warp_size)
        y[r * C + c] = rounded(x[r * C + c], format, step);
}

template <class Real>
void quantise(Real* y, const Real* x, int R, int C, FewBits format) {
    uint32_t* largest = nullptr;
    if (levels(format)) {
        largest = static_cast<uint32_t*>(workspace<Real>(quantise_workspace(R)));
        launch(largest_of_rows_kernel<Real>, blocks_for_rows(R), block_size, 0, largest, x, R, C);
        if (one_step(format)) launch(largest_of_all_kernel, dim3(1), warp_size, 0, largest, R);
    }
    launch(quantise_kernel<Real>, blocks_for_rows(R), block_size, 0, y, x, largest, R, C, format);
}

template void quantise(float*, const float*, int, int, FewBits);
template void quantise(bf16*, const bf16*, int, int, FewBits);
template void quantise(fp16*, const fp16*, int, int, FewBits);

}  // namespace peri
