#include "jobs/view.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "check.h"
#include "data/data.h"
#include "data/embed.h"
#include "jobs/bands.h"
#include "json.h"
#include "open_file.h"
#include "run/flags.h"
#include "run/interrupt.h"
#include "run/run_directory.h"
#include "store/csv.h"
#include "store/files.h"

EMBED(peri_view, "view.html");

namespace peri {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t most_steps = 2000, most_probes = 100;  // a figure has no more pixels

// To five digits, which is more than a figure shows; null where it is not finite, or no number.
Json number(double value) {
    if (!std::isfinite(value)) return nullptr;
    char text[32];
    std::snprintf(text, sizeof text, "%.5g", value);
    return std::strtod(text, nullptr);
}

Json number(const std::string& cell) {
    char* end = nullptr;
    const double value = std::strtod(cell.c_str(), &end);
    return cell.empty() || *end ? Json() : number(value);
}

// Every row where they are few. Else of so many neighbours the one with the largest gradient norm, so that
// spikes stay, with the loss of all of them.
Json metrics_of(const std::string& path) {
    const std::vector<std::vector<std::string>> rows = csv_rows(path);
    Json columns;
    const std::vector<std::string> wanted = {"step", "loss",         "grad_norm",
                                             "lr",   "tokens_per_s", "mfu"};
    for (const std::string& name : wanted) columns[name] = Json::array();
    if (rows.size() < 2) return columns;
    std::map<std::string, size_t> at;
    for (size_t i = 0; i < rows[0].size(); i++) at[rows[0][i]] = i;
    for (const std::string& name : wanted)
        if (!at.contains(name) && name != "mfu")  // which the first version had not
            throw UserError(path + ": has no column " + name);
    const auto cell = [&](size_t r, const char* name) {
        const auto column = at.find(name);
        return column != at.end() && column->second < rows[r].size() ? rows[r][column->second]
                                                                     : std::string();
    };
    const auto value = [&](size_t r, const char* name) {
        return std::strtod(cell(r, name).c_str(), nullptr);
    };
    const size_t n = rows.size() - 1, bucket = (n + most_steps - 1) / most_steps;
    for (size_t first = 1; first <= n; first += bucket) {
        const size_t end = std::min(first + bucket, n + 1);
        size_t shown = first;
        double loss = 0;
        for (size_t r = first; r < end; r++) {
            loss += value(r, "loss") / double(end - first);
            const double norm = value(r, "grad_norm"), most = value(shown, "grad_norm");
            if (norm > most || std::isnan(most)) shown = r;
        }
        for (const std::string& name : wanted)
            columns[name].push_back(name == "loss" ? number(loss)
                                                   : number(cell(shown, name.c_str())));
    }
    return columns;
}

Json validation_of(const std::string& path) {
    Json columns = {{"step", Json::array()}, {"loss", Json::array()}};
    const std::vector<std::vector<std::string>> rows = csv_rows(path);
    for (size_t r = 1; r < rows.size(); r++) {
        if (rows[r].size() < 2) continue;
        columns["step"].push_back(number(rows[r][0]));
        columns["loss"].push_back(number(rows[r][1]));
    }
    return columns;
}

// {quantity: {step: [...], layer: [...], value: [[of each layer] of each step]}}, and spikes by themselves.
Json probes_of(const std::string& path) {
    const std::set<std::string> wanted = {"hidden_variance",     "weight_gradient_norm",
                                          "output_gamma_mean",   "growth_exponential_rate",
                                          "last_layer_gradient", "last_layer_bound",
                                          "largest_001"};
    std::map<std::string, std::map<long, std::map<int, Json>>> found;
    Json all = Json::object(), spikes = {{"step", Json::array()}, {"times", Json::array()}};
    for (const std::vector<std::string>& row : csv_rows(path)) {
        if (row.size() < 4) continue;
        if (row[2] == "spike") {
            spikes["step"].push_back(number(row[0]));
            spikes["times"].push_back(number(row[3]));
        }
        // the largest entry is wherever it is
        const int layer = row[2].starts_with("largest") ? 0 : std::atoi(row[1].c_str());
        if (wanted.contains(row[2]))
            found[row[2]][std::atol(row[0].c_str())][layer] = number(row[3]);
    }
    for (const auto& [quantity, steps] : found) {
        Json& out = all[quantity] = {
            {"step", Json::array()}, {"layer", Json::array()}, {"value", Json::array()}};
        for (const auto& [layer, value] : steps.begin()->second) out["layer"].push_back(layer);
        const size_t every = (steps.size() + most_probes - 1) / most_probes;
        size_t i = 0;
        for (const auto& [step, layers] : steps) {
            if (i++ % every && i != steps.size()) continue;
            Json values = Json::array();
            for (const auto& [layer, value] : layers) values.push_back(value);
            out["step"].push_back(step);
            out["value"].push_back(values);
        }
    }
    all["spike"] = spikes;
    return all;
}

// {quantity: {step: [low, high]}}, of the hidden variance {step: [[low, high] of each sub-layer]}.
Json bands_of(const std::string& directory) {
    const Bands bands = bands_for(directory);
    Json all = Json::object();
    const auto pair = [](Bounds b) { return Json{b.low, b.high}; };
    for (const auto& [step, b] : bands.loss) all["loss"][std::to_string(step)] = pair(b);
    for (const auto& [step, b] : bands.grad_norm) all["grad_norm"][std::to_string(step)] = pair(b);
    for (const auto& [step, layers] : bands.hidden_variance)
        for (const Bounds b : layers)
            all["hidden_variance"][std::to_string(step)].push_back(pair(b));
    return all;
}

// What no model can beat, where the run's data are the built-in stories; else null.
Json floor_of(const std::string& config) {
    const char* words[] = {"train", "--config", config.c_str()};
    try {
        const std::optional<RunConfig> run = parse_flags(3, const_cast<char**>(words));
        if (!run || !run->data.empty()) return nullptr;
        const double tokens = double(run->val_batches) * run->sequences() * run->seq;
        if (tokens > 1 << 22) return nullptr;  // a second's work
        return open_data("", "", run->seq)->floor(run->val_batches, run->sequences(), run->seq);
    } catch (const UserError&) {  // another version's settings
        return nullptr;
    }
}

Json run_of(const std::string& directory) {
    const std::string path = directory + "/";
    if (!is_there(path + "metrics.csv"))
        throw UserError("--view " + directory +
                        ": holds no run (metrics.csv): name a directory that --out had");
    Json run = {{"name", std::filesystem::path(path).parent_path().filename().string()},
                {"path", directory},
                {"training", is_training(directory)}};
    run["config"] = settings_of(directory);
    if (!run["config"].empty()) run["floor"] = floor_of(path + "config.json");
    run["metrics"] = metrics_of(path + "metrics.csv");
    run["validation"] = validation_of(path + "validation.csv");
    run["probe"] = probes_of(path + "probe.csv");
    run["bands"] = bands_of(directory);
    run["normal"] = beside_bands(directory);
    return run;
}

}  // namespace

std::string view_page(const std::vector<std::string>& directories, bool following) {
    Json data = {{"following", following}, {"runs", Json::array()}};
    for (const std::string& directory : directories) data["runs"].push_back(run_of(directory));
    std::string json = data.dump(-1, ' ', false, Json::error_handler_t::replace);
    // within a script element nothing may look like its end
    for (size_t i = 0; (i = json.find('<', i)) != std::string::npos;) json.replace(i, 1, "\\u003c");
    std::string page(peri_view_begin, peri_view_end);
    const std::string place = "{\"runs\":[]}";
    page.replace(page.find(place), place.size(), json);
    return page;
}

void view(const RunConfig& run) {
    const std::string place = run.out.empty() ? run.viewed.front() : run.out;
    const std::string path = place + "/view.html";
    catch_interrupts();
    for (bool first = true;; first = false) {
        bool following = false;
        for (const std::string& directory : run.viewed) following |= is_training(directory);
        const std::string page = view_page(run.viewed, following);
        std::error_code error;  // then the writing says what is wrong there
        if (first) std::filesystem::create_directories(place, error);
        save_durably(path, page);
        if (first)
            std::printf("%s\n%s", path.c_str(),
                        following ? "written anew while the run goes on; Ctrl-C ends that\n" : "");
        std::fflush(stdout);
        if (!following || interrupt()) return;
        for (int i = 0; i < 20 && !interrupt(); i++)
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

}  // namespace peri
