#include "run/settings.h"

#include <glob.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "json.h"
#include "number.h"
#include "open_file.h"

namespace peri {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::uintmax_t longest_file = 1 << 20;

// asked: the flag that asks for the file, with the file
Json parse_file(const std::string& asked, const std::string& path) {
    std::ifstream file = open_file(path);
    std::error_code error;
    std::string text(std::min(std::filesystem::file_size(path, error), longest_file + 1), '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
    if (!file.is_open() || file.bad())
        throw UserError(asked + " cannot be read (" + why_unreadable(path) +
                        "): give the path of a settings file");
    if (text.size() > longest_file)
        throw UserError(asked + " is longer than 1 MiB: give a settings file");
    Json json;
    try {
        json = Json::parse(text);
    } catch (const Json::parse_error& error) {
        const size_t before = std::min(error.byte, text.size()) - !text.empty();
        const auto line = 1 + std::count(text.begin(), text.begin() + before, '\n');
        throw UserError(asked + " is not JSON (see its line " + std::to_string(line) +
                        "): write it as {\"norm\": \"peri\", \"lr\": 0.002}");
    } catch (const Json::out_of_range&) {
        throw UserError(asked + " holds a number beyond 1e308: choose a smaller one");
    }
    if (!json.is_object())
        throw UserError(asked + " holds no JSON object: write it as " +
                        "{\"norm\": \"peri\", \"lr\": 0.002}");
    return json;
}

bool is_number(Kind kind) { return kind == Kind::number || kind == Kind::integer; }

bool has_kind(const Json& value, Kind kind) {
    return is_number(kind)        ? value.is_number()
           : kind == Kind::toggle ? value.is_boolean()
                                  : value.is_string();
}

const char* example(Kind kind) {
    return is_number(kind)        ? "a number, such as 0.002"
           : kind == Kind::toggle ? "true or false"
                                  : "a text in quotation marks";
}

bool is_outside(const std::string& path) {
    std::error_code error;
    return leads_out(path, std::filesystem::current_path(error));
}

// Itself, or one of the files that it matches ('shards/*.bin'); or a pattern that goes up again, as every
// "*/../" multiplies what is looked at.
bool leads_away(const std::string& path) {
    const size_t pattern = std::min(path.find_first_of("*?["), path.size());
    if (is_outside(path) || path.find("..", pattern) != path.npos) return true;
    glob_t files{};
    bool away = false;
    if (glob(path.c_str(), 0, nullptr, &files) == 0)
        away = std::any_of(files.gl_pathv, files.gl_pathv + files.gl_pathc, is_outside);
    globfree(&files);
    return away;
}

Json as_json(const Setting& value) {
    if (value.kind == Kind::toggle) return value.text == "true";
    if (!is_number(value.kind)) return value.text;
    double number = 0;
    CHECK(parse_number(number, value.text));
    if (number == std::floor(number)) return static_cast<int64_t>(number);
    return number;
}

}  // namespace

Settings::Settings(std::span<const Flag> flags) : flags_(flags) {
    for (const Flag& f : flags) {
        values_[f.name] = {};
        unset(f.name);
    }
}

void Settings::set(const std::string& flag, const std::string& value) {
    values_.at(flag) = {values_.at(flag).kind, value, true};
}

void Settings::unset(const std::string& flag) {
    const Flag& f = *std::ranges::find(flags_, flag, &Flag::name);
    values_.at(flag) = {f.kind, f.kind == Kind::toggle ? "false" : f.value};
}

void Settings::read_file(const std::string& flag, const std::string& path, FileOf whose) {
    const std::string asked = "--" + flag + " " + path;
    const Json file = parse_file(asked, path);
    for (const auto& [key, json] : file.items()) {
        const auto found = values_.find(key);
        if (found == values_.end() || key == "config" || key == "help")
            throw UserError(asked + ": \"" + key +
                            "\" is no setting: use the flags' names without --, as ./train --help "
                            "lists them");
        Setting& value = found->second;
        if (!has_kind(json, value.kind))
            throw UserError(asked + ": \"" + key + "\" is a JSON " + json.type_name() +
                            ": make it " + example(value.kind));
        if (value.given) continue;
        const std::string text = json.is_string() ? json.get<std::string>() : json.dump();
        value = {value.kind, text, true, whose == FileOf::anyone ? path : ""};
    }
}

bool Settings::given(const std::string& flag) const { return values_.at(flag).given; }

const std::string& Settings::text(const std::string& flag) const { return values_.at(flag).text; }

const std::string& Settings::path(const std::string& flag) const {
    const Setting& value = values_.at(flag);
    if (!value.file.empty() && leads_away(value.text))
        throw UserError(value.file + ": \"" + flag + "\" leads out of the working directory (" +
                        value.text + "): where that is meant, give --" + flag +
                        " on the command line");
    return value.text;
}

double Settings::number(const std::string& flag) const {
    const auto [lowest, highest] = std::ranges::find(flags_, flag, &Flag::name)->range;
    double value = 0;
    if (!parse_number(value, text(flag)) || !(value >= lowest && value <= highest)) {
        char range[80];
        std::snprintf(range, sizeof range, "a number from %g to %g", lowest, highest);
        throw UserError("--" + flag + " " + text(flag) + " must be " + range);
    }
    return value;
}

int64_t Settings::integer(const std::string& flag) const {
    const double value = number(flag);
    if (value != std::floor(value))
        throw UserError("--" + flag + " " + text(flag) + " must be a whole number");
    return static_cast<int64_t>(value);
}

std::string Settings::json(const std::set<std::string>& except) const {
    Json result = Json::object();
    for (const Flag& flag : flags_) {
        const Setting& value = values_.at(flag.name);
        if (flag.saved && !except.contains(flag.name) && !value.text.empty())
            result[flag.name] = as_json(value);
    }
    constexpr auto replace = Json::error_handler_t::replace;  // bytes that are not UTF-8
    return result.dump(2, ' ', false, replace) + "\n";
}

}  // namespace peri
