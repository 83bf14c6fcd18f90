#include <algorithm>

#include "device.h"
#include "kernels.h"
#include "matmul.h"
#include "parallel.h"

namespace peri {

#ifdef __CUDACC__
constexpr size_t logits_bytes = size_t(1) << 30;
#else
constexpr size_t logits_bytes = size_t(64)
                                << 20;  // the simulator, in which as many would take minutes
#endif

// From a row of logits to the next: every row begins on a boundary of 256 bytes.
inline size_t pitch_of(int V) { return (size_t(V) + 63) / 64 * 64; }

// and of the same rows as a product writes them, or reads the gradients that lie in their place
inline Pitch logits_pitch(int V) { return {.c = static_cast<int>(pitch_of(V))}; }
template <class Real>
Pitch gradients_pitch(int V) {
    return {.a = static_cast<int>(pitch_of(V) * sizeof(Accum<Real>) / sizeof(Real))};
}

// Rows handled at once: as many as the logits' bytes hold, in whole tiles of a product, which has 128 rows
// to a tile.
template <class Real>
int rows_at_once(int R, int V) {
    const size_t most = logits_bytes / (pitch_of(V) * sizeof(Accum<Real>));
    const size_t rows = most < 128 ? std::max<size_t>(most, 1) : most / 128 * 128;
    return static_cast<int>(std::min<size_t>(rows, R));
}

// The workspace's parts. Logits are kept as they were summed; their gradients, which products read, lie in
// the same place as Real, from the beginning of each row.
template <class Real>
struct Parts {
    void* scratch;        // of the products
    double* row_loss;     // (R)
    Accum<Real>* logits;  // (rows at once, pitch)
    size_t bytes;

    Parts(void* memory, int R, int V) {
        Slicer slice(memory);
        scratch = slice.take<char>(linear_workspace<Real>());
        row_loss = slice.take<double>(R);
        logits = slice.take<Accum<Real>>(rows_at_once<Real>(R, V) * pitch_of(V));
        bytes = slice.used();
    }
};

// Sums of exponentials, each relative to the largest: sum_v exp(z_v) = sum exp(most). One of nothing has
// most = -inf and sum 0.
struct ExpSum {
    float most, sum;
};
__device__ inline ExpSum plus(ExpSum a, ExpSum b) {
    const float most = b.most <= a.most ? a.most : b.most;  // NaN if that is there
    if (most == -INFINITY) return a;
    return {most, a.sum * exp(a.most - most) + b.sum * exp(b.most - most)};
}

// of all threads' numbers, to every thread
__device__ inline ExpSum block_plus(ExpSum mine, ExpSum* shared) {
    for (int distance = warp_size / 2; distance > 0; distance /= 2)
        mine = plus(mine, {__shfl_xor_sync(all_lanes, mine.most, distance),
                           __shfl_xor_sync(all_lanes, mine.sum, distance)});
    if (lane_of_thread() == 0) shared[threadIdx.x / warp_size] = mine;
    __syncthreads();
    ExpSum all = shared[0];
    for (int w = 1; w < warps_in_block; w++) all = plus(all, shared[w]);
    return all;
}

// Of a row of logits z, in whose place dz is written as Real:
//   dz = (p_factor p - onehot(target)) scale,   p_factor = 1 + 2 z_loss log Z
// The row's loss is
//   -log p[target] = log Z - z_target,   log Z = log sum_v exp(z_v - max) + max
// A block takes a row, a thread four logits at a time.
//   bytes read and written a logit: 4 for the sum, 4 + sizeof(Real) for dz
template <class Real>
__global__ void softmax_cross_entropy_kernel(double* row_loss, float* z, const int* targets, int V,
                                             size_t pitch, const LossScale* loss_scale, float share,
                                             float z_loss) {
    DYNAMIC_SHARED(ExpSum, shared);
    const size_t r = blockIdx.x;
    const int target = targets[r], lane = 4 * threadIdx.x;
    const float scale = loss_scale ? loss_scale->scale * share : share;
    z += r * pitch;
    Real* const dz = reinterpret_cast<Real*>(z);
    ExpSum mine = {-INFINITY, 0};
    for (int v = lane; v < V; v += 4 * block_size) {
        const auto four = load<4>(z + v);
        ExpSum of_four = {four[0], 0};
        for (int k = 1; k < 4 && v + k < V; k++) of_four = plus(of_four, {four[k], 0});
        for (int k = 0; k < 4 && v + k < V; k++) of_four.sum += exp(four[k] - of_four.most);
        mine = plus(mine, of_four);
    }
    const ExpSum all = block_plus(mine, shared);
    const float at_target = target < 0 ? 0 : z[target];
    const float p_factor = 1 + 2 * z_loss * (log(all.sum) + all.most);
    for (int first = 0; first < V; first += 4 * block_size) {
        const int v = first + lane;
        Pack<float, 4> four;
        if (v < V) four = load<4>(z + v);
        __syncthreads();  // dz lies where other threads' z of this round were
        if (v >= V) continue;
        Pack<Real, 4> result;
        for (int k = 0; k < 4; k++) {
            const float p = exp(four[k] - all.most) / all.sum;
            result[k] = target < 0 ? 0 : (p_factor * p - (v + k == target ? 1 : 0)) * scale;
        }
        store(dz + v, result);
    }
    if (threadIdx.x == 0)
        row_loss[r] = target < 0 ? 0 : log(double(all.sum)) + double(all.most - at_target);
}

// *loss += sum_r row_loss[r] / divisor; one block
__global__ void add_loss_kernel(double* loss, const double* row_loss, int R, double divisor) {
    DYNAMIC_SHARED(double, shared);
    double sum = 0;
    for (int r = threadIdx.x; r < R; r += block_size) sum += row_loss[r];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) *loss += sum / divisor;
}

template <class Real>
size_t head_loss_workspace(int R, int V) {
    return Parts<Real>(nullptr, R, V).bytes;
}

// With z = x w^T and p = softmax(z): dL/dz = p - onehot(target) (Eq. 13), d(log Z)^2/dz = 2 log Z p,
// then a linear layer's backward. A chunk of rows at a time.
template <class Real>
void head_loss(double* loss, Real* dx, Accum<Real>* dw, const Real* x, const Real* w,
               const int* targets, const LossScale* loss_scale, int R, int C, int V, double divisor,
               double z_loss) {
    const Parts<Real> p(workspace<Real>(head_loss_workspace<Real>(R, V)), R, V);
    const int chunk = rows_at_once<Real>(R, V);
    const Real* const d_logits = reinterpret_cast<const Real*>(p.logits);
    for (int start = 0; start < R; start += chunk) {
        const int rows = std::min(chunk, R - start);
        const Real* const x_chunk = x + size_t(start) * C;
        matmul(p.logits, x_chunk, Op::none, w, Op::transpose, rows, V, C, false, p.scratch,
               logits_pitch(V));
        launch(softmax_cross_entropy_kernel<Real>, dim3(static_cast<unsigned>(rows)), block_size,
               warps_in_block * sizeof(ExpSum), p.row_loss + start, p.logits, targets + start, V,
               pitch_of(V), loss_scale, static_cast<float>(1 / divisor),
               static_cast<float>(z_loss));
        if (dx)
            matmul(dx + size_t(start) * C, d_logits, Op::none, w, Op::none, rows, C, V, false,
                   p.scratch, gradients_pitch<Real>(V));
        if (dw)
            matmul(dw, d_logits, Op::transpose, x_chunk, Op::none, V, C, rows, true, p.scratch,
                   gradients_pitch<Real>(V));
    }
    const size_t shared = warps_in_block * sizeof(double);
    launch(add_loss_kernel, dim3(1), block_size, shared, loss, p.row_loss, R, divisor);
}

template <class Real>
void head_loss_tune(int R, int C, int V) {
    const int rows = rows_at_once<Real>(R, V);
    tune_matmul<Accum<Real>, Real>(Op::none, Op::transpose, rows, V, C, false, logits_pitch(V));
    tune_matmul<Real, Real>(Op::none, Op::none, rows, C, V, false, gradients_pitch<Real>(V));
    tune_matmul<Accum<Real>, Real>(Op::transpose, Op::none, V, C, rows, true,
                                   gradients_pitch<Real>(V));
}

#define INSTANTIATE(Real)                                                                       \
    template void head_loss(double*, Real*, Accum<Real>*, const Real*, const Real*, const int*, \
                            const LossScale*, int, int, int, double, double);                   \
    template size_t head_loss_workspace<Real>(int, int);                                        \
    template void head_loss_tune<Real>(int, int, int);
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE

}  // namespace peri
