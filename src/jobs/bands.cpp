#include "jobs/bands.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

#include "data/embed.h"
#include "json.h"
#include "open_file.h"
#include "store/csv.h"
#include "store/files.h"

EMBED(peri_bands, "bands.json");

namespace peri {

namespace {

using Json = nlohmann::ordered_json;

constexpr double deviations = 4, least_of_losses = 0.005, least_of_logs = 0.02;

// Which data, by its size, is asked for itself.
const std::set<std::string> changes_no_result = {
    "seed",          "threads",   "tune",        "save-every",  "keep",
    "keep-best",     "val-every", "val-batches", "probe-every", "sharpness-every",
    "on-divergence", "attention", "recompute",   "data",        "reproducible"};

bool same_settings(const Json& a, const Json& b) {
    for (const Json* each : {&a, &b})
        for (const auto& [key, value] : each->items())
            if (!changes_no_result.contains(key) && a.value(key, Json()) != b.value(key, Json()))
                return false;
    return true;
}

bool same_data(const Json& config, size_t bytes) {
    const Json path = config.value("data", Json(""));
    std::error_code error;
    if (!path.is_string() || path == "" || bytes == 0) return path == "" && bytes == 0;
    return std::filesystem::file_size(path.get<std::string>(), error) == bytes && !error;
}

Bounds bounds(const Json& mean_and_deviation, double least) {
    const double mean = mean_and_deviation.at(0);
    const double width = deviations * std::max(least, double(mean_and_deviation.at(1)));
    return {mean - width, mean + width};
}

Bounds bounds_of_log(const Json& mean_and_deviation) {
    const Bounds b = bounds(mean_and_deviation, least_of_logs);
    return {std::exp(b.low), std::exp(b.high)};
}

Bands parse(const Json& recorded) {
    Bands bands;
    bands.seeds = recorded.at("seeds");
    bands.window = recorded.at("window");
    for (const auto& [step, value] : recorded.at("loss").items())
        bands.loss[std::stoi(step)] = bounds(value, least_of_losses);
    for (const auto& [step, value] : recorded.at("log_grad_norm").items())
        bands.grad_norm[std::stoi(step)] = bounds_of_log(value);
    for (const auto& [step, layers] : recorded.at("log_hidden_variance").items())
        for (const Json& value : layers)
            bands.hidden_variance[std::stoi(step)].push_back(bounds_of_log(value));
    return bands;
}

bool inside(double value, Bounds b) { return value >= b.low && value <= b.high; }

// What was outside first.
struct Outside {
    int step = -1;  // none yet
    std::string words;
};

void keep_first(Outside& first, int step, const std::string& what, double value, Bounds b,
                int seeds) {
    if (first.step >= 0 && first.step <= step) return;
    char words[160];
    std::snprintf(words, sizeof words,
                  "unusual since step %d: %s is %.4g, %d seeds have %.4g to %.4g", step,
                  what.c_str(), value, seeds, b.low, b.high);
    first = {step, words};
}

// A series over steps: unusual where two neighbours are outside.
void compare(Outside& first, const std::map<int, double>& series,
             const std::map<int, Bounds>& bands, const std::string& what, int seeds) {
    int outside = -1;  // the step before, if it was
    for (const auto& [step, value] : series) {
        const bool is_outside = bands.contains(step) && !inside(value, bands.at(step));
        if (is_outside && outside >= 0)
            return keep_first(first, outside, what, series.at(outside), bands.at(outside), seeds);
        outside = is_outside ? step : -1;
    }
}

// A profile over depth: unusual where more than half of it is outside.
void compare(Outside& first, int step, const std::vector<double>& profile,
             const std::vector<Bounds>& bands, const std::string& what, int seeds) {
    size_t outside = 0, last = 0;
    for (size_t s = 0; s < std::min(profile.size(), bands.size()); s++)
        if (!inside(profile[s], bands[s])) outside++, last = s;
    if (2 * outside > bands.size())
        keep_first(first, step, what + " behind sub-layer " + std::to_string(last), profile[last],
                   bands[last], seeds);
}

// Means over so many steps, by the last of them; the logarithm's, where the norm is meant.
std::map<int, double> means(const std::vector<std::vector<std::string>>& metrics, size_t column,
                            int window, bool geometric) {
    std::map<int, double> found;
    double sum = 0;
    for (size_t r = 1; r < metrics.size(); r++) {
        if (metrics[r].size() <= column) continue;
        const int step = std::atoi(metrics[r][0].c_str());
        const double value = std::strtod(metrics[r][column].c_str(), nullptr);
        sum += (geometric ? std::log(value) : value) / window;
        if (step % window) continue;
        found[step] = geometric ? std::exp(sum) : sum;
        sum = 0;
    }
    return found;
}

// {step: value of each sub-layer}
std::map<int, std::vector<double>> profiles(const std::vector<std::vector<std::string>>& probe,
                                            const std::string& quantity) {
    std::map<int, std::vector<double>> found;
    for (const std::vector<std::string>& row : probe)
        if (row.size() >= 4 && row[2] == quantity)
            found[std::atoi(row[0].c_str())].push_back(std::strtod(row[3].c_str(), nullptr));
    return found;
}

}  // namespace

Json settings_of(const std::string& directory) {
    const std::string path = directory + "/config.json";
    Json settings = Json::object();
    if (!is_there(path)) return settings;
    const Json file = Json::parse(read_text(path, short_text), nullptr, false);
    if (!file.is_object()) return settings;
    for (const auto& [name, value] : file.items())
        if (value.is_primitive()) settings[name] = value;
    return settings;
}

Bands bands_for(const std::string& directory) {
    const Json config = settings_of(directory);
    if (config.empty()) return {};
    static const Json all = Json::parse(peri_bands_begin, peri_bands_end);
    for (const Json& recorded : all)
        if (same_settings(config, recorded.at("settings")) &&
            same_data(config, recorded.at("data_bytes")))
            return parse(recorded);
    return {};
}

std::string beside_bands(const std::string& directory) {
    const Bands bands = bands_for(directory);
    if (!bands.known()) return "";
    const auto metrics = csv_rows(directory + "/metrics.csv");
    const std::map<int, double> losses = means(metrics, 2, bands.window, false);
    Outside first;
    compare(first, losses, bands.loss, "loss", bands.seeds);
    compare(first, means(metrics, 3, bands.window, true), bands.grad_norm, "gradient norm",
            bands.seeds);
    for (const auto& [step, profile] :
         profiles(csv_rows(directory + "/probe.csv"), "hidden_variance"))
        if (bands.hidden_variance.contains(step))
            compare(first, step, profile, bands.hidden_variance.at(step), "hidden variance",
                    bands.seeds);
    if (first.step >= 0) return first.words;
    if (losses.empty()) return "";
    return "normal up to step " + std::to_string(losses.rbegin()->first) +
           ": inside the bands of " + std::to_string(bands.seeds) + " seeds";
}

}  // namespace peri
