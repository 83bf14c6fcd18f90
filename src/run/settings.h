// The values of the flags: each from the command line, else from a settings file (--config), else
// its default. A settings file is a JSON object of flag names and values:
//   {"norm": "peri", "lr": 0.002, "layernorm": true}
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>

namespace peri {

enum class Kind { word, text, file, directory, path, number, integer, toggle };

struct Range {
    double lowest = 0, highest = 0;
};

struct Flag {
    const char *group, *name;
    Kind kind;
    std::string value;  // the default; "": none
    Range range;        // of numbers
    bool saved;         // whether a settings file that repeats the run holds it
    std::string help;
};

struct Setting {
    Kind kind;
    std::string text;
    bool given = false;     // on the command line or in a file
    std::string file = {};  // that it comes from, and that may be a stranger's
};

// Whose a settings file is. Paths in a stranger's, such as one that came with a model, may lead nowhere
// but below the working directory.
enum class FileOf { this_run, anyone };

class Settings {
  public:
    // Every flag at its default.
    explicit Settings(std::span<const Flag> flags);

    // A value given on the command line; a toggle's is "true" or "false".
    void set(const std::string& flag, const std::string& value);

    // The values of a settings file, except for those set already. Throws UserError naming the
    // flag that asks for it, the file, the key and the remedy.
    void read_file(const std::string& flag, const std::string& path, FileOf whose);

    // Back to the default, as if nobody had given it.
    void unset(const std::string& flag);

    // Whether a value was given, on the command line or in a file.
    bool given(const std::string& flag) const;
    const std::string& text(const std::string& flag) const;
    bool on(const std::string& flag) const { return text(flag) == "true"; }
    // Throws UserError where it is anyone's and leads elsewhere.
    const std::string& path(const std::string& flag) const;
    // Within the flag's range; throws UserError otherwise.
    double number(const std::string& flag) const;
    int64_t integer(const std::string& flag) const;
    int count(const std::string& flag) const { return static_cast<int>(integer(flag)); }

    // A settings file that repeats these values, `except` left out.
    std::string json(const std::set<std::string>& except) const;

  private:
    std::span<const Flag> flags_;
    std::map<std::string, Setting> values_;
};

}  // namespace peri
