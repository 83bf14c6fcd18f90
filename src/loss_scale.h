// Loss scaling (Micikevicius et al. 2018, arXiv 1710.03740, Section 3.2). In fp16 gradients below 2^-24 are 0. So what
// goes back is multiplied by `scale`, a power of two, and what is learned from is divided by it.
#pragma once

namespace peri {

struct LossScale {
    float scale;
    int grows_after;    // good steps, then it doubles; 0: it stays
    int good, skipped;  // steps since it changed; of all
};

// What a step makes of it. One whose gradients are not finite has been skipped, and the scale halves.
constexpr void move_on(LossScale& s, bool finite) {
    constexpr float least = 0x1p-60f, largest = 0x1p60f;
    s.skipped += !finite;
    if (s.grows_after == 0) return;
    s.good = finite ? s.good + 1 : 0;
    if (!finite && s.scale > least) s.scale /= 2;
    if (s.good < s.grows_after) return;
    s.good = 0;
    if (s.scale < largest) s.scale *= 2;
}

}  // namespace peri
