// Is my curve normal? Runs with the settings of the README's commands, beside eight recorded seeds of each
// (data/bands.json, made by experiments/bands.py).
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace peri {

// Where one more run is expected to lie: four standard deviations of eight seeds on each side of their mean;
// of a normal quantity 1 run in 130 lies outside (Student's t of 7 degrees of freedom, 4 / sqrt(1 + 1/8)).
// A deviation counts as at least 0.005 nats, 0.02 of logarithms: other processors and libraries round
// otherwise, and training makes that grow.
struct Bounds {
    double low, high;
};

struct Bands {
    int seeds = 0, window = 0;        // steps over which loss and gradient norm are means
    std::map<int, Bounds> loss;       // by step, the window's last
    std::map<int, Bounds> grad_norm;  // of the geometric mean
    std::map<int, std::vector<Bounds>> hidden_variance;  // by step, of sub-layers 0 .. S

    bool known() const { return seeds > 0; }
};

// What its config.json sets, where that is a settings file: texts, numbers, switches.
nlohmann::ordered_json settings_of(const std::string& directory);

// The bands for a run in `directory`, by its config.json: all settings that change a result must be a
// recorded command's, and its --data of that size. Without any (known()) where they are not.
Bands bands_for(const std::string& directory);

// One sentence on the run so far: "normal up to step 200: inside the bands of 8 seeds", or of what left them
// first "unusual since step 40: loss is 2.31, 8 seeds have 1.71 to 1.99". Loss and gradient norm have left
// them where two windows in succession lie outside, the hidden variance where more than half of its
// sub-layers do: none of the recorded runs does beside the seven others of its seeds. "" where nothing is known.
std::string beside_bands(const std::string& directory);

}  // namespace peri
