// Checkpoints: all that a run needs to go on as if it had never stopped. OUT/step-00001000 holds
//   model.safetensors      the weights as they are stored (bf16 or fp32)
//   optimizer.safetensors  moments, and master weights where there are any
//   config.json            the run's settings
//   products.txt           which library computes which product
//   rows.txt               how far metrics.csv and the like had come (step_file.h)
// The step is the run's whole position: batches are a function of (seed, step). A checkpoint is
// written beside its place, flushed to the disk and renamed, so that a crash at any moment leaves
// the ones before. OUT/best-00000400 (--keep-best) is written likewise and holds model.safetensors
// and config.json alone.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "optimizer.h"
#include "store/safetensors.h"
#include "store/saved.h"

namespace peri {

using TextFiles = std::vector<std::pair<std::string, std::string>>;  // name, content

// Writes OUT/step-<optimizer's steps>, with `texts` beside the tensors; one that is there already
// and whole is left alone. Then removes all but the newest `keep` (0: none), and best weights that
// nothing needs any more. Throws UserError (no space, no right to write), after which the older
// ones are as they were. Collective (comm.h): the first process writes, and what it writes does not
// say how many there are.
template <class Real>
void save_checkpoint(const std::string& out, const Model<Real>& model,
                     const Optimizer<Real>& optimizer, const TextFiles& texts, int keep);

// Likewise OUT/best-<step>, the weights alone. Older ones stay only where a checkpoint needs them:
// a run that goes on from it has found no better ones by then.
template <class Real>
void save_best(const std::string& out, const Model<Real>& model, int64_t step,
               const TextFiles& texts);

// Throws UserError naming the file and what is wrong with it: missing, damaged (every tensor has a
// checksum), of another model, not written here, or best weights, from which no run can go on.
// Part of the model may then have been read.
template <class Real>
void load_checkpoint(const std::string& path, Model<Real>& model, Optimizer<Real>& optimizer);

// The weights alone, tensor by tensor, of a checkpoint's directory or of any safetensors file with
// tensors named as a model's, as F64, F32, F16 or BF16.
class SavedWeights {
  public:
    explicit SavedWeights(const std::string& path);

    // As save_checkpoint noted it, else the rows of the embedding.
    int vocab() const;

    // Throws UserError where the file has a tensor that the table has not: it is of another model.
    void require_no_others(const TensorTable& table) const;

    // Both throw UserError where there is no such tensor of this shape.
    const std::string& dtype(const Tensor& tensor) const { return find(tensor).dtype; }
    std::vector<double> values(const Tensor& tensor) const;

  private:
    const TensorInfo& find(const Tensor& tensor) const;

    std::string path_;
    SafetensorsFile file_;
};

// All of them, rounded to Real, from a file that has no others. Load them before the optimizer is made.
template <class Real>
void load_weights(const std::string& path, Model<Real>& model);

int saved_vocab(const std::string& path);

}  // namespace peri
