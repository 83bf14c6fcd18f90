#include "jobs/generate.h"

#include <algorithm>
#include <cstdio>

#include "check.h"
#include "jobs/readable.h"
#include "run/fit.h"
#include "run/flags.h"
#include "store/checkpoint.h"

namespace peri {

namespace {

Batch untargeted(const std::vector<int>& tokens) {
    return {1, static_cast<int>(tokens.size()), tokens, std::vector<int>(tokens.size(), -1)};
}

}  // namespace

template <class Real>
std::vector<double> Decoder<Real>::feed(const std::vector<int>& tokens) {
    const bool fits = seen_.size() + tokens.size() <= size_t(model_.context());
    const bool kept = model_.config().recompute != Recompute::sublayers && !seen_.empty();
    seen_.insert(seen_.end(), tokens.begin(), tokens.end());
    if (!fits) seen_.erase(seen_.begin(), seen_.end() - std::max(1, model_.context() / 2));
    if (fits && kept)
        model_.append(tokens);
    else
        model_.load(untargeted(seen_));
    model_.forward();
    return model_.next_token_logits();
}

template <class Real>
std::vector<int> generate(Model<Real>& model, std::vector<int> tokens, int n,
                          const Sampling& sampling, Rng rng, const std::function<void(int)>& each) {
    Decoder<Real> decoder(model);
    std::vector<int> unread = tokens;
    for (int i = 0; i < n; i++) {
        const std::vector<double> p = next_token_probabilities(decoder.feed(unread), sampling);
        unread = {draw(p, rng)};
        if (unread[0] == sampling.stop_at) break;
        tokens.push_back(unread[0]);
        each(unread[0]);
    }
    return tokens;
}

// ---- --generate ---------------------------------------------------------------------------------

template <class Real>
void print_generated(RunConfig run) {
    choose_vocab(run, saved_vocab(run.init_from));
    check_memory<Real>(run);
    const int vocab = run.model.vocab;
    if (run.sampling.stop_at >= vocab)
        throw UserError("--stop-at " + std::to_string(run.sampling.stop_at) +
                        " is none of the model's tokens, 0 to " + std::to_string(vocab - 1) +
                        ": give one of them");
    std::vector<int> prompt = prompt_tokens(run.prompt, vocab);
    Model<Real> model(run.model, 1, run.seq, Purpose::inference);
    load_weights(run.init_from, model);
    Readable text(vocab);
    for (const int token : prompt) std::printf("%s", text.add(token).c_str());
    // The end of the text before. A model of the stories has seen no row that begins otherwise.
    if (prompt.empty() || run.of_stories) prompt.insert(prompt.begin(), run.model.separator);
    generate<Real>(model, prompt, run.generate, run.sampling, Rng(run.seed), [&](int token) {
        std::printf("%s", text.add(token).c_str());
        std::fflush(stdout);
    });
    std::printf("%s\n", text.rest().c_str());
}

#define INSTANTIATE(Real)                                                                         \
    template class Decoder<Real>;                                                                 \
    template std::vector<int> generate(Model<Real>&, std::vector<int>, int, const Sampling&, Rng, \
                                       const std::function<void(int)>&);
INSTANTIATE(double)
INSTANTIATE(float)
INSTANTIATE(bf16)
INSTANTIATE(fp16)
#undef INSTANTIATE
template void print_generated<float>(RunConfig);
template void print_generated<bf16>(RunConfig);
template void print_generated<fp16>(RunConfig);

}  // namespace peri
