// --keep-best: the weights of the lowest validation loss of a run stay in OUT/best-<step>.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "store/checkpoint.h"
#include "store/step_file.h"

namespace peri {

class BestWeights {
  public:
    // A run that goes on from step `done`, after these validations. Weights of later steps, which
    // it will compute anew, are removed. If those of the lowest loss are not there any more, the
    // search begins again, so that what it names in the end can be read.
    BestWeights(const std::string& out, int64_t done, const std::vector<Validation>& earlier);

    // Saves the weights if their loss is lower than all before; a NaN never is.
    template <class Real>
    void after(const Validation& validation, const Model<Real>& model, const TextFiles& texts);

    std::string summary() const;  // one line; "" if no loss was a number

  private:
    std::string out_;
    Validation best_ = {0, std::numeric_limits<double>::infinity()};
};

}  // namespace peri
