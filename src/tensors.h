// The tensor table: every learned tensor exists once, as a row. Allocation, initialisation,
// optimizer, gradient check and checkpoints walk this table; adding a norm is one row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config.h"

namespace peri {

struct Tensor {
    std::string name;
    int rows = 0, cols;        // a vector (gamma, beta) has rows = 0 and cols numbers
    double mean = 0, std = 0;  // of its initial values
    double cut = 0;  // draws beyond this many standard deviations are drawn again; 0: none are
    bool decayed = false;  // by weight decay: matrices are, vectors are not
    bool trained = true;  // false: stays as initialised and has no gradient (--freeze-output-gamma)
    size_t offset =
        0;  // of its first number in the gradient arena, where tensors lie in table order

    bool is_matrix() const { return rows > 0; }
    size_t size() const { return size_t(rows ? rows : 1) * cols; }
};

// Rows of the table; -1 where a model has no such tensor.
struct NormIds {
    int gamma = -1, beta = -1;  // beta: LayerNorm only
    explicit operator bool() const { return gamma >= 0; }
};

struct SubLayerIds {
    NormIds input_norm, output_norm, main_norm;  // positions A, B, C of Figure 2
    NormIds q_norm, k_norm, v_norm;              // inside attention
    NormIds gate_norm, up_norm;                  // inside the MLP (SimpleNorm)
    int q = -1, k = -1, v = -1, o = -1;
    int gate = -1, up = -1, down = -1;
};

struct TensorTable {
    std::vector<Tensor> rows;
    int embedding = -1, head = -1;
    NormIds embedding_norm, final_norm;
    std::vector<SubLayerIds> sublayers;  // S = 2L

    size_t gradient_numbers() const;      // size of the gradient arena
    size_t parameters() const;            // all learned numbers, padding of the vocabulary left out
    size_t embedding_parameters() const;  // those of embedding and head

    int vocab, width;  // of the model, for the two counts above
};

TensorTable tensor_table(const ModelConfig& config);

// The start values of tensor `row` of the table: a function of (seed, row) alone.
std::vector<double> initial_values(const Tensor& tensor, uint64_t seed, int row);

}  // namespace peri
