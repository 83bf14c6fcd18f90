// Model FLOPs utilization (MFU; PaLM, Chowdhery et al. 2022, Appendix B): the share of the machine's
// peak that goes into the operations which the model itself asks for, whatever else was computed.
#pragma once

#include "config.h"

namespace peri {

// Floating-point operations of a training step, for each token of sequences of T: 6 for every
// number of every matrix but the embedding (2 forward, 4 backward), and 6 L C T for causal
// attention, where a token sees half of the others. What --recompute computes again does not count.
double operations_per_token(const ModelConfig& config, int T);

// Operations a second of the fastest square product of Real that is found here in a tenth of a second
// or so: by linear_forward, hence by the library and on the threads that a run uses. tune: let the
// backend choose that library by measuring (linear_tune).
template <class Real>
double measured_peak(bool tune);

// Bytes a second, read and written, that the device copies from memory to memory: the fastest of four copies
// that are too large for a cache.
template <class Real>
double measured_bandwidth();

}  // namespace peri
