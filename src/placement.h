// Where the norms sit: the paper's Figure 2 as one table.
#pragma once

#include <string>
#include <vector>

namespace peri {

// Norms of the queries and keys inside attention, before RoPE (position A2 of Figure 31).
enum class QkNorm { none, head, full };  // per head, or over the full width of all heads

// The weight of the residual stream in o = alpha x + a~.
enum class Alpha { one, sublayers, deepnorm };  // 1, S = 2L, (2L)^(1/4)

// How a placement's own paper initialises: N(0, 0.02^2) everywhere unless said here.
enum class OwnInit {
    normal,
    deepnorm,  // v, o and the MLP's matrices times (8L)^(-1/4)
    simple,  // embedding N(0,1); o, up and down 0.02 / sqrt(2 (l+1)); head d^(-1/2), cut at 3 sigma
};

// One block design. Every sub-layer of every design is
//   x~ = A ? Norm(x) : x          A   input norm
//   a  = Module(x~)               qk, inner: norms inside the module
//   a~ = B ? Norm(a) : a          B   output norm
//   o  = alpha x + a~
//   y  = C ? Norm(o) : o          C   norm on the residual stream
struct Placement {
    const char* name;
    bool input_norm, output_norm, main_norm;
    QkNorm qk;
    bool inner;  // SimpleNorm: v, gate and up are normalised too, over their full width
    Alpha alpha;
    bool embedding_norm, final_norm;
    OwnInit init;
    const char* source;
};

// All placements but `mix`, which is a list of two of them.
const std::vector<Placement>& placements();

// The names of all ten.
std::vector<std::string> placement_names();

// A line for each: name, equation, source.
std::string placement_list();

// "peri", "mix", or a list with numbers of layers, "post:3,peri:9": one placement a layer.
// Throws UserError naming the part that is wrong.
std::vector<Placement> parse_placements(const std::string& text, int layers);

// The block as one line of the paper's notation, e.g. "y = x + Norm(Module(Norm(x)))".
std::string equation(const Placement& placement);

// One sub-layer as the model runs it: KEEL's exception for the first layer is resolved here.
struct SubLayer {
    int layer;
    bool attention;  // else MLP
    bool input_norm, output_norm, main_norm;
    QkNorm qk;
    bool inner;
    double alpha;
    OwnInit init;
};

// The S = 2L sub-layers, attention and MLP by turns.
std::vector<SubLayer> sublayers(const std::vector<Placement>& layers);

}  // namespace peri
