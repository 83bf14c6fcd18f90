#include "few_bits.h"

#include "device.h"
#include "help/opencl.h"

EMBED(opencl_few_bits, "few_bits.cl");

namespace peri {

using namespace opencl;

namespace {
const File file = {"few_bits", opencl_few_bits_begin, opencl_few_bits_end};
}

template <class Real>
void quantise(Real* y, const Real* x, int R, int C, FewBits format) {
    uint32_t* largest = nullptr;
    if (levels(format)) {
        largest = static_cast<uint32_t*>(workspace<Real>(quantise_workspace(R)));
        launch<Real>(file, "largest_of_rows", R, largest, x, C);
        if (one_step(format)) launch<Real>(file, "largest_of_all", 1, largest, R);
    }
    launch<Real>(file, "quantise", R, y, x, largest, R, C, static_cast<int>(format), levels(format),
                 static_cast<int>(one_step(format)));
}

template void quantise(float*, const float*, int, int, FewBits);
template void quantise(bf16*, const bf16*, int, int, FewBits);
template void quantise(fp16*, const fp16*, int, int, FewBits);

}  // namespace peri
