#include "run/tuning.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "check.h"
#include "device.h"
#include "store/files.h"

namespace peri {

namespace {

std::string hex_checksum(const std::string& text) {
    char hex[9];
    std::snprintf(hex, sizeof hex, "%08x", checksum(text));
    return hex;
}

std::string this_machine() { return processor_name() + "; " + backend_description(); }

// The file: whose it is, the choices, a checksum of all before it.
const std::string title = "peri.cpp products of ", last_line = "checksum ";

std::string packed(const std::string& choices) {
    const std::string text = title + this_machine() + "\n" + choices;
    return text + last_line + hex_checksum(text) + "\n";
}

// The choices in a file, "" where there is none; throws UserError where it is not whole, or not of
// this machine.
std::string unpacked(const std::string& path) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return "";
    const std::string text = read_text(path, short_text);
    const size_t end = text.rfind(last_line);
    if (end == std::string::npos ||
        text.substr(end) != last_line + hex_checksum(text.substr(0, end)) + "\n")
        throw UserError(path + " is damaged");
    const std::string whose = title + this_machine() + "\n";
    if (!text.starts_with(whose)) throw UserError(path + " is another machine's");
    return text.substr(whose.size(), end - whose.size());
}

}  // namespace

std::string choices_path() {
    const char *const cache = std::getenv("XDG_CACHE_HOME"), *const home = std::getenv("HOME");
    const std::string name = "/peri.cpp/products-" + hex_checksum(this_machine()) + ".txt";
    if (cache && cache[0] == '/') return cache + name;
    return home && home[0] == '/' ? home + ("/.cache" + name) : "";
}

void recall_choices() {
    const std::string path = choices_path();
    if (path.empty()) return;
    try {
        const std::string choices = unpacked(path);
        if (choices.empty()) return;
        if (const std::string line = set_backend_choices(choices); !line.empty())
            throw UserError(path + ": '" + line + "' cannot be followed here");
    } catch (const UserError& e) {
        std::fprintf(stderr, "%s: products are measured anew\n", e.what());
    }
}

void keep_choices() {
    const std::string path = choices_path(), choices = backend_choices();
    if (path.empty() || choices.empty()) return;
    try {
        std::string kept;  // those of other processes too, that came since
        try {
            kept = unpacked(path);
        } catch (const UserError&) {  // recall_choices has named it
        }
        const bool both = set_backend_choices(kept + choices).empty();
        const std::string all = both ? backend_choices() : choices;
        if (all == kept) return;
        std::error_code error;  // what cannot be made is told where it is written
        std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
        const std::string own = path + "." + std::to_string(getpid());
        save_durably(own, packed(all));
        rename_durably(own, path);
    } catch (const UserError& e) {
        std::fprintf(stderr,
                     "%s: the next run measures products anew, and its last bits may differ\n",
                     e.what());
    }
}

}  // namespace peri
