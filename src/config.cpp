#include "config.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "check.h"
#include "number.h"

namespace peri {

// Table 4 does not give the feed-forward width; 3.75 d is the single ratio closest to its three
// names.
const std::vector<Size>& sizes() {
    static const std::vector<Size> table = {
        {"tiny", 4, 32, 4, 96, 64},         {"small", 12, 128, 4, 384, 128},
        {"124m", 12, 768, 12, 2048, 1024},  {"400m", 24, 1024, 8, 3840, 8192},
        {"1.5b", 24, 2048, 16, 7680, 8192}, {"3.2b", 32, 2560, 16, 9600, 8192},
    };
    return table;
}

const Size& find_size(const std::string& name) {
    Choices<const Size*> choices;
    for (const Size& size : sizes()) choices.emplace_back(size.name, &size);
    return *choose("size", name, choices);
}

ModelConfig model_of(const Size& size) {
    ModelConfig c;
    c.layers = size.layers;
    c.width = size.width;
    c.heads = c.kv_heads = size.heads;
    c.ffn = size.ffn;
    return c;
}

namespace {

void require_positive(const char* flag, int value) {
    if (value < 1)
        throw UserError("--" + std::string(flag) + " " + std::to_string(value) +
                        " must be at least 1");
}

void check_shape(const ModelConfig& c) {
    require_positive("layers", c.layers);
    require_positive("width", c.width);
    require_positive("heads", c.heads);
    require_positive("kv-heads", c.kv_heads);
    require_positive("ffn", c.ffn);
    require_positive("vocab", c.vocab);
    const auto divides = [](const char* flag, int part, const char* of, int whole) {
        if (whole % part)
            throw UserError("--" + std::string(flag) + " " + std::to_string(part) +
                            " does not divide " + of + " " + std::to_string(whole) +
                            ": choose a divisor");
    };
    divides("heads", c.heads, "--width", c.width);
    divides("kv-heads", c.kv_heads, "--heads", c.heads);
    if (c.head_size() % 2)
        throw UserError("--width " + std::to_string(c.width) + " over --heads " +
                        std::to_string(c.heads) + " gives heads of odd size " +
                        std::to_string(c.head_size()) + ", but RoPE turns pairs: change either");
    if (!(c.rope_base > 0)) throw UserError("--rope-base must be above 0");
    if (!(c.norm_eps >= 0)) throw UserError("--norm-eps must be at least 0");
}

bool decide(Choice choice, bool automatic) {
    return choice == Choice::automatic ? automatic : choice == Choice::on;
}

}  // namespace

const Choices<Choice>& automatic_on_off() {
    static const Choices<Choice> choices = {
        {"auto", Choice::automatic}, {"on", Choice::on}, {"off", Choice::off}};
    return choices;
}

const Choices<QkNorm>& qk_norms() {
    static const Choices<QkNorm> choices = {
        {"none", QkNorm::none}, {"head", QkNorm::head}, {"full", QkNorm::full}};
    return choices;
}

const Choices<Recompute>& recomputes() {
    static const Choices<Recompute> choices = {{"none", Recompute::none},
                                               {"norms", Recompute::norms},
                                               {"sublayers", Recompute::sublayers}};
    return choices;
}

void resolve(ModelConfig& c, const std::string& qk_norm, Choice embedding_norm, Choice final_norm) {
    check_shape(c);
    c.placement = parse_placements(c.norm, c.layers);
    if (qk_norm != "auto")
        for (Placement& p : c.placement) {
            if (p.inner)
                throw UserError("--qk-norm " + qk_norm +
                                ": the placement 'simple' has its own norms of queries and keys; "
                                "leave --qk-norm at auto");
            p.qk = choose("qk-norm", qk_norm, qk_norms());
        }
    const bool any_B = std::any_of(c.placement.begin(), c.placement.end(),
                                   [](const Placement& p) { return p.output_norm; });
    if (c.freeze_output_gamma && !any_B)
        throw UserError("--freeze-output-gamma: --norm " + c.norm +
                        " has no output norm; choose peri, output, olmo2 or simple");
    const bool free = std::all_of(c.placement.begin(), c.placement.end(), [](const Placement& p) {
        return (p.input_norm || p.inner) && !p.main_norm;
    });
    if (c.state_scale != 1 && !(free && decide(final_norm, c.placement.back().final_norm)))
        throw UserError(
            "--state-scale: larger hidden states are the same function only where whatever "
            "reads them begins with a norm, and none is on their path: choose --norm pre, "
            "peri or simple, with a final norm, or leave it at 1");
    // In a list, what stands before the first layer is the first layer's, what stands after the
    // last is the last's.
    c.embedding_norm = decide(embedding_norm, c.placement.front().embedding_norm);
    c.final_norm = decide(final_norm, c.placement.back().final_norm);
}

int end_of_text(int vocab) {
    if (vocab <= 256) return 0;
    for (const auto& [token, padded] :
         {std::pair(50256, 50304), std::pair(100257, 100288), std::pair(199999, 200064)})
        if (token < vocab && vocab <= padded) return token;
    return -1;
}

Init parse_init(const std::string& text) {
    if (text == "auto") return {};
    if (text == "xavier") return {Init::xavier, 0};
    if (text == "he") return {Init::width, 2};
    if (text == "lecun") return {Init::width, 1};
    const bool normal = text.starts_with("normal:"), width = text.starts_with("d:");
    double value = 0;
    if ((normal || width) && parse_number(value, text.substr(normal ? 7 : 2)) && value > 0 &&
        value < 1e6)
        return {normal ? Init::normal : Init::width, value};
    throw UserError("--init " + text +
                    ": choose auto, normal:S (a standard deviation above 0), xavier, d:K (variance "
                    "K / width), he (d:2) or lecun (d:1)");
}

FakeQuant parse_fake_quant(const std::string& text) {
    static const Choices<FewBits> formats = {
        {"int8", FewBits::int8}, {"int8-tensor", FewBits::int8_tensor},
        {"int4", FewBits::int4}, {"int4-tensor", FewBits::int4_tensor},
        {"e4m3", FewBits::e4m3}, {"e4m3-sat", FewBits::e4m3_sat},
        {"e5m2", FewBits::e5m2}, {"e5m2-sat", FewBits::e5m2_sat},
        {"fp16", FewBits::fp16}, {"bf16", FewBits::bf16}};
    static const Choices<FewBits FakeQuant::*> places = {{"hidden", &FakeQuant::hidden},
                                                         {"outputs", &FakeQuant::outputs},
                                                         {"weights", &FakeQuant::weights}};
    FakeQuant result;
    if (text == "none") return result;
    std::stringstream list(text);
    for (std::string item; std::getline(list, item, ',');) {
        const size_t colon = item.find(':');
        const std::string place = colon == std::string::npos ? "hidden" : item.substr(colon + 1);
        FewBits& format = result.*choose("fake-quant", place, places);
        if (format != FewBits::none)
            throw UserError("--fake-quant " + text + " names " + place + " twice: leave one out");
        format = choose("fake-quant", item.substr(0, colon), formats);
    }
    if (!result.any())
        throw UserError("--fake-quant is empty: give FORMAT[:WHERE], or leave the flag out");
    return result;
}

}  // namespace peri
