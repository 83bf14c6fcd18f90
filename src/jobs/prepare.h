// What comes before the first step: the data, the weights to begin with, the fastest products.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/data.h"
#include "model.h"
#include "optimizer.h"
#include "run/run_config.h"
#include "run/run_directory.h"

namespace peri {

// The data of a run, which then has the vocabulary and the steps that follow from it. Throws
// UserError.
std::unique_ptr<Data> open_data(RunConfig& run);

// The weights of a run before its first step, which those of --resume then replace. Returns the variance
// of the hidden state after each sub-layer with them, NaN where a run goes on whose --init-from is gone.
template <class Real>
std::vector<double> initial_weights(Model<Real>& model, const Data& data, const RunConfig& run,
                                    const std::string& directory);

// The fastest libraries for the products, kept in the user's cache and saved with the run.
template <class Real>
void tune(Model<Real>& model, const RunConfig& run, const std::string& directory);

// Saves the run's settings and, with --resume, goes on from where an earlier process stopped:
// weights, moments, steps done and the libraries of its products.
template <class Real>
void go_on(Model<Real>& model, Optimizer<Real>& optimizer, const RunConfig& run,
           const RunDirectory& directory);

}  // namespace peri
