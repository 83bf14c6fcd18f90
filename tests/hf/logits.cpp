// For tests/check_hf.py, with the flags of ./train. Writes the logits after each token of --prompt,
// token numbers, to stdout: V floats a token. With --export-hf it exports, in parts of 40 kB.
#include <cstdio>
#include <sstream>

#include "check.h"
#include "jobs/export_hf.h"
#include "jobs/generate.h"
#include "run/flags.h"
#include "store/checkpoint.h"

using namespace peri;

namespace {

void print_logits(RunConfig run) {
    set_threads(1);
    run.model.vocab = run.vocab ? run.vocab : saved_vocab(run.init_from);
    Model<float> model(run.model, 1, run.seq, Purpose::inference);
    load_weights(run.init_from, model);
    Decoder<float> decoder(model);
    std::istringstream tokens(run.prompt);
    for (int token; tokens >> token;) {
        const std::vector<double> logits = decoder.feed({token});
        const std::vector<float> narrow(logits.begin(), logits.end());
        std::fwrite(narrow.data(), sizeof(float), narrow.size(), stdout);
    }
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const std::optional<RunConfig> run = parse_flags(argc, argv);
        if (run && !run->export_hf.empty()) export_hf(*run, 40'000);
        if (run && run->generate) print_logits(*run);
        return 0;
    } catch (const UserError& e) {
        std::fprintf(stderr, "logits: %s\n", e.what());
        return 2;
    }
}
