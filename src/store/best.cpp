#include "store/best.h"

#include <cmath>
#include <cstdio>
#include <filesystem>

namespace peri {

BestWeights::BestWeights(const std::string& out, int64_t done,
                         const std::vector<Validation>& earlier)
    : out_(out) {
    std::error_code ignored;
    for (const SavedStep& saved : saved_bests(out)) {
        if (done <= 0)  // the run before had no checkpoint: these may be all that is left of it
            set_aside(saved.path, "earlier");
        else if (saved.step > done)
            std::filesystem::remove_all(saved.path, ignored);
    }
    Validation lowest = best_;
    for (const Validation& v : earlier)
        if (v.loss < lowest.loss) lowest = v;
    if (is_whole(out + "/" + best_name(lowest.step) + "/model.safetensors")) best_ = lowest;
}

template <class Real>
void BestWeights::after(const Validation& validation, const Model<Real>& model,
                        const TextFiles& texts) {
    if (!(validation.loss < best_.loss)) return;
    save_best(out_, model, validation.step, texts);
    best_ = validation;
}

std::string BestWeights::summary() const {
    if (!std::isfinite(best_.loss)) return "";
    char text[80];
    std::snprintf(text, sizeof text, "best validation loss %.4f at step %lld: ", best_.loss,
                  static_cast<long long>(best_.step));
    return text + out_ + "/" + best_name(best_.step) + "\n";
}

template void BestWeights::after(const Validation&, const Model<float>&, const TextFiles&);
template void BestWeights::after(const Validation&, const Model<bf16>&, const TextFiles&);
template void BestWeights::after(const Validation&, const Model<fp16>&, const TextFiles&);

}  // namespace peri
