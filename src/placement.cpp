#include "placement.h"

#include <cmath>
#include <iomanip>
#include <sstream>

#include "check.h"

namespace peri {

// Every sub-layer, attention or MLP, of every placement is
//     x~ = A ? Norm(x) : x
//     a  = Module(x~)          with norms of q and k, or of all inner matrices' outputs, in some
//     a~ = B ? Norm(a) : a
//     o  = alpha x + a~
//     y  = C ? Norm(o) : o
// and a row of this table says which norms (x: there is one) and which alpha; then, whether the
// embedding and the last hidden state are normed, and how its own paper initialises it.

// clang-format off
const std::vector<Placement>& placements() {
    constexpr bool x = true, o = false;
    constexpr QkNorm none = QkNorm::none, full = QkNorm::full;
    constexpr Alpha one = Alpha::one, S = Alpha::sublayers, deep = Alpha::deepnorm;
    constexpr OwnInit normal = OwnInit::normal, small = OwnInit::deepnorm, simple = OwnInit::simple;
    static const std::vector<Placement> table = {
    //                A  B  C  q, k  inner  alpha  embedding  final  init    source
        {"post",       o, o, x, none,  o,    one,      o,       o,   normal, "Peri-LN Eq. 1"},
        {"pre",        x, o, o, none,  o,    one,      o,       x,   normal, "Peri-LN Eq. 2"},
        {"peri",       x, x, o, none,  o,    one,      x,       x,   normal, "Peri-LN Eq. 3"},
        {"output",     o, x, o, none,  o,    one,      o,       x,   normal, "Peri-LN Table 5"},
        {"input-main", x, o, x, none,  o,    one,      o,       o,   normal, "Peri-LN Table 5"},
        {"olmo2",      o, x, o, full,  o,    one,      o,       x,   normal, "Peri-LN Appendix H"},
        {"keel",       x, o, x, none,  o,    S,        o,       o,   normal, "arXiv 2601.19895"},
        {"simple",     o, x, o, full,  x,    one,      o,       x,   simple, "arXiv 2602.01212"},
        {"deep",       o, o, x, none,  o,    deep,     o,       o,   small,  "arXiv 2203.00555"},
    };
    return table;
}
// clang-format on

namespace {

const Placement& find(const std::string& name, const std::string& text) {
    for (const Placement& p : placements())
        if (name == p.name) return p;
    std::string names;
    for (const std::string& known : placement_names()) names += known + ", ";
    throw UserError(
        "--norm " + text + ": '" + name +
        (name == "mix"
             ? "' is a list itself, post in the first quarter, then pre: give --norm mix alone"
             : "' is no placement; choose one of " + names +
                   "or a list of layers such as post:3,peri:9"));
}

}  // namespace

std::vector<std::string> placement_names() {
    std::vector<std::string> names;
    for (const Placement& p : placements()) names.push_back(p.name);
    names.push_back("mix");
    return names;
}

std::string placement_list() {
    std::ostringstream list;
    list << std::left;
    for (const Placement& p : placements())
        list << std::setw(12) << p.name << std::setw(42) << equation(p) << p.source << '\n';
    list << std::setw(12) << "mix" << std::setw(42) << "post in the first quarter, then pre"
         << "arXiv 2412.13795\n";
    return list.str();
}

std::vector<Placement> parse_placements(const std::string& text, int layers) {
    if (text == "mix") {  // Mix-LN, arXiv 2412.13795
        const int post = (layers + 3) / 4;
        std::vector<Placement> mix(post, find("post", text));
        mix.insert(mix.end(), layers - post, find("pre", text));
        return mix;
    }
    if (text.find(':') == std::string::npos)
        return std::vector<Placement>(layers, find(text, text));
    std::vector<Placement> list;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) {
        const size_t colon = part.find(':');
        const std::string count = colon == std::string::npos ? "" : part.substr(colon + 1);
        if (count.empty() || count.size() > 6 ||
            count.find_first_not_of("0123456789") != std::string::npos || std::stoi(count) == 0)
            throw UserError("--norm " + text + ": '" + part +
                            "' should be a placement and a number of layers, such as post:3");
        list.insert(list.end(), std::stoi(count), find(part.substr(0, colon), text));
    }
    if (static_cast<int>(list.size()) != layers)
        throw UserError("--norm " + text + " names " + std::to_string(list.size()) +
                        " layers, but the model has " + std::to_string(layers) +
                        ": change the numbers or --layers");
    return list;
}

std::string equation(const Placement& p) {
    const std::string input = p.input_norm ? "Norm(x)" : "x";
    const std::string module = (p.inner                ? "NormedModule("
                                : p.qk != QkNorm::none ? "QkNormedModule("
                                                       : "Module(") +
                               input + ")";
    const std::string branch = p.output_norm ? "Norm(" + module + ")" : module;
    const std::string main = p.alpha == Alpha::sublayers  ? "S x"
                             : p.alpha == Alpha::deepnorm ? "(2L)^1/4 x"
                                                          : "x";
    const std::string sum = main + " + " + branch;
    return "y = " + (p.main_norm ? "Norm(" + sum + ")" : sum);
}

std::vector<SubLayer> sublayers(const std::vector<Placement>& layers) {
    std::vector<SubLayer> list;
    const double L = static_cast<double>(layers.size());
    for (int layer = 0; layer < static_cast<int>(layers.size()); layer++) {
        const Placement& p = layers[layer];
        double alpha = 1;
        if (p.alpha == Alpha::sublayers) alpha = 2 * L;
        if (p.alpha == Alpha::deepnorm) alpha = std::pow(2 * L, 0.25);
        SubLayer s = {.layer = layer,
                      .attention = true,
                      .input_norm = p.input_norm,
                      .output_norm = p.output_norm,
                      .main_norm = p.main_norm,
                      .qk = p.qk,
                      .inner = p.inner,
                      .alpha = alpha,
                      .init = p.init};
        // KEEL's first attention has no norm on the residual stream, and neither of its first two
        // sub-layers scales it.
        const bool first_of_keel = p.alpha == Alpha::sublayers && layer == 0;
        if (first_of_keel) {
            s.alpha = 1;
            s.main_norm = false;
        }
        list.push_back(s);
        s.attention = false;
        s.main_norm = p.main_norm;
        list.push_back(s);
    }
    return list;
}

}  // namespace peri
