#include "suite.h"

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "check.h"
#include "number.h"

namespace peri {

// ---- cases --------------------------------------------------------------------------------------

Case::Case(const std::string& line) : line_(line) {
    std::istringstream words(line);
    words >> check_;
    for (std::string word; words >> word;) {
        const size_t equals = word.find('=');
        require(equals != std::string::npos && equals > 0, "name=value, not " + word);
        values_.push_back({word.substr(0, equals), word.substr(equals + 1)});
    }
}

void Case::require(bool condition, const std::string& what) const {
    if (!condition) throw UserError("the case '" + line_ + "' must have " + what);
}

std::vector<std::string> Case::parameters() const {
    std::vector<std::string> names;
    for (const auto& [name, value] : values_) names.push_back(name);
    return names;
}

std::string Case::word(const std::string& parameter) const {
    for (const auto& [name, value] : values_)
        if (name == parameter) return value;
    require(false, "a parameter " + parameter);
    return "";
}

namespace {

// the whole text as a whole number
template <class Number>
bool parse(Number& number, const std::string& text) {
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    return error == std::errc() && rest == end;
}

}  // namespace

int Case::integer(const std::string& parameter, int least) const {
    int value = 0;
    const bool is_number = parse(value, word(parameter));
    require(is_number && value >= least,
            parameter + " a whole number of at least " + std::to_string(least));
    return value;
}

double Case::real(const std::string& parameter) const {
    double value = 0;
    require(parse_number(value, word(parameter)), parameter + " a number");
    return value;
}

size_t Case::choice(const std::string& parameter, const std::vector<std::string>& all) const {
    const std::string value = word(parameter);
    std::string list;
    for (size_t i = 0; i < all.size(); i++) {
        if (all[i] == value) return i;
        list += (i ? ", " : "") + all[i];
    }
    require(false, parameter + " one of " + list);
    return 0;
}

bool Case::yes(const std::string& parameter) const { return choice(parameter, {"no", "yes"}) == 1; }

// ---- what is asked for --------------------------------------------------------------------------

namespace {

struct Job {
    const Family* family;
    const Check* check;
    Case line;
};

struct Options {
    std::string backend;
    bool list = false, quiet = false;
    int seeds = 1;
    std::string model;                  // its sizes, where kernels are to be timed
    std::string kernels;                // a file: whose they are
    std::string type;                   // "": all
    std::vector<std::string> selected;  // families, checks and lines
};

const char* const usage =
    "conformance [--backend NAME] [--seeds N] [--quiet] [--list] [--type TYPE] [--attention WORD]\n"
    "            [--time SIZES] [--kernels FILE] [FAMILY | CHECK | 'CASE']...\n"
    "  runs the cases of these families and checks, or of all, or one case as its line says\n"
    "  --backend NAME  refuses to test another backend (or BACKEND in the environment)\n"
    "  --seeds N       every case with the seeds 1 to N, not with 1 alone\n"
    "  --type TYPE     float, bf16 or fp16 alone\n"
    "  --attention W   tiles or library, where a GPU has both; auto\n"
    "  --quiet         only cases that are not ok, and the count\n"
    "  --list          the lines of the cases, and which are not supported, without running them\n"
    "  --time SIZES    how long the kernels of a model's step take, such as\n"
    "                  'B=16 T=128 C=128 H=4 F=384 V=256', beside the machine's own peaks\n"
    "  --kernels FILE  the count a family, with the source of its kernels, a line of FILE (a "
    "port's:\n"
    "                  make/port_kernels.sh)\n";

AttentionBy attention_by(const std::string& word) {
    if (word == "auto") return AttentionBy::automatic;
    if (word == "tiles") return AttentionBy::tiles;
    if (word == "library") return AttentionBy::library;
    throw UserError("--attention is " + word + ": give auto, tiles or library");
}

Options parse_options(const std::vector<std::string>& arguments) {
    Options options;
    if (const char* const asked = std::getenv("BACKEND")) options.backend = asked;
    for (size_t i = 0; i < arguments.size(); i++) {
        const std::string& word = arguments[i];
        const auto value = [&] {
            if (++i == arguments.size()) throw UserError(word + " needs a value: see --help");
            return arguments[i];
        };
        if (word == "--backend")
            options.backend = value();
        else if (word == "--time")
            options.model = value();
        else if (word == "--kernels")
            options.kernels = value();
        else if (word == "--type")
            options.type = value();
        else if (word == "--attention")
            set_attention(attention_by(value()));
        else if (word == "--list")
            options.list = true;
        else if (word == "--quiet")
            options.quiet = true;
        else if (word == "--seeds") {
            const std::string n = value();
            if (!parse(options.seeds, n) || options.seeds < 1)
                throw UserError("--seeds is " + n + ": give a whole number of at least 1");
        } else if (word.rfind("--", 0) == 0)
            throw UserError("there is no flag " + word + ": see --help");
        else
            options.selected.push_back(word);
    }
    if (options.type != "" && options.type != "float" && options.type != "bf16" &&
        options.type != "fp16")
        throw UserError("--type is " + options.type + ": give float, bf16 or fp16");
    return options;
}

std::string joined(const std::vector<std::string>& words) {
    std::string result;
    for (const std::string& word : words) result += (result.empty() ? "" : " ") + word;
    return result;
}

Job job(const Family& family, const Check& check, const std::string& parameters,
        const std::string& type, int seed) {
    const std::string seed_text = "seed=" + std::to_string(seed);
    std::vector<std::string> words = {check.name};
    if (parameters != "") words.push_back(parameters);
    words.push_back("type=" + type);
    words.push_back(seed_text);
    return {&family, &check, Case(joined(words))};
}

void add_listed(std::vector<Job>& jobs, const Family& family, const Check& check,
                const Options& options) {
    const bool timed = options.model != "";
    if (timed && !check.in_model) return;
    for (const std::string& parameters :
         timed ? check.in_model(Case("model " + options.model)) : check.cases)
        for (const std::string& type : check.types)
            for (int seed = 1; seed <= options.seeds; seed++) {
                if (options.type != "" && options.type != type) continue;
                jobs.push_back(job(family, check, parameters, type, seed));
                jobs.back().line.timed = timed;
            }
}

// A line somebody wrote: its check must exist, its parameters be that check's.
Job parse_job(const std::vector<Family>& suite, const std::string& line) {
    const Case c(line);
    for (const Family& family : suite)
        for (const Check& check : family.checks) {
            if (check.name != c.check()) continue;
            const Job example = job(family, check, check.cases.front(), check.types.front(), 1);
            c.require(c.parameters() == example.line.parameters(),
                      "the parameters of '" + example.line.line() + "', in this order");
            c.choice("type", check.types);
            c.seed();
            return {&family, &check, c};
        }
    throw UserError("the case '" + line + "' names no check: --list shows the cases there are");
}

std::vector<Job> jobs_for(const std::vector<Family>& suite, const Options& options) {
    std::vector<Job> jobs;
    for (const Family& family : suite)
        for (const Check& check : family.checks)
            if (options.selected.empty()) add_listed(jobs, family, check, options);
    for (const std::string& word : options.selected) {
        if (word.find('=') != std::string::npos) {
            jobs.push_back(parse_job(suite, word));
            continue;
        }
        const size_t before = jobs.size();
        for (const Family& family : suite)
            for (const Check& check : family.checks)
                if (word == family.name || word == check.name)
                    add_listed(jobs, family, check, options);
        if (jobs.size() == before)
            throw UserError("there is no family and no check '" + word +
                            "': --list shows the cases there are");
    }
    return jobs;
}

// A name that was linked by mistake would make a suite that passes say nothing.
void assert_backend(const std::string& asked) {
    const std::string name = backend_name();
    if (asked != "" && asked != name)
        throw UserError("--backend (or BACKEND) asks for " + asked + ", but this program tests " +
                        name + ": run the conformance program that was linked with " + asked);
    if (backend_description().rfind(name, 0) != 0)
        throw UserError("the backend is called " + name + " but describes itself as " +
                        backend_description());
}

bool is_supported(const Check& check, const Case& c) {
    return !check.supported || check.supported(c);
}

struct Count {
    int ok = 0, failed = 0, not_supported = 0;

    std::string text() const {
        return std::to_string(ok) + " ok, " + std::to_string(failed) + " failed, " +
               std::to_string(not_supported) + " not supported";
    }
};

// Whose kernels ran: of each family that was run the source, as the file names it, and its count.
std::string sources(const std::string& path, const std::map<std::string, Count>& counts) {
    std::ifstream file(path);
    std::map<std::string, std::string> of;
    for (std::string name, source; file >> name && std::getline(file >> std::ws, source);)
        of[name] = source;
    std::string lines = "device: " + of["device"] + "\n";
    for (const auto& [name, count] : counts) {
        if (!of.contains(name))
            throw UserError("--kernels " + path + " has no line for " + name +
                            ": give the file that make/port_kernels.sh wrote");
        lines += name + ": " + of[name] + ", " + count.text() + "\n";
    }
    return lines;
}

std::string indented(const std::string& text) {
    std::istringstream lines(text);
    std::string result;
    for (std::string line; std::getline(lines, line);) result += "    " + line + "\n";
    return result;
}

}  // namespace

// ---- running ------------------------------------------------------------------------------------

int run_suite(const std::vector<Family>& suite, const std::string& program,
              const std::vector<std::string>& arguments, std::ostream& out) {
    if (arguments.size() == 1 && arguments[0] == "--help") {
        out << usage;
        return 0;
    }
    const Options options = parse_options(arguments);
    const std::vector<Job> jobs = jobs_for(suite, options);
    if (options.list) {
        for (const auto& [family, check, c] : jobs)
            out << c.line() << (is_supported(*check, c) ? "" : "  (not supported)") << "\n";
        return 0;
    }
    assert_backend(options.backend);
    out << backend_description();
    if (tolerance_factor() != 1) out << "; all tolerances times " << tolerance_factor();
    out << "\n";
    const auto times = [&](const char* type) {
        return options.model != "" && (options.type == "" || options.type == type);
    };
    if (times("float")) out << ceilings_line<float>("float");
    if (times("bf16")) out << ceilings_line<bf16>("bf16");
    if (times("fp16")) out << ceilings_line<fp16>("fp16");
    Count all;
    std::map<std::string, Count> of_family;
    for (const auto& [family, check, c] : jobs) {
        // The line comes first: where a backend ends the program, it is the last one printed.
        if (!options.quiet) out << c.line() << " " << std::flush;
        const bool supported = is_supported(*check, c);
        if (c.timed) {
            out << (supported ? check->errors(c) : "not supported") << std::endl;
            continue;
        }
        const std::string errors = supported ? check->errors(c) : "";
        for (Count* const count : {&all, &of_family[family->name]})
            (!supported ? count->not_supported : errors == "" ? count->ok : count->failed)++;
        const std::string status = !supported ? "not supported" : errors == "" ? "ok" : "FAIL";
        if (!options.quiet)
            out << status << "\n";
        else if (status != "ok")
            out << c.line() << " " << status << "\n";
        if (errors != "")
            out << indented(errors) << "    again: " << program << " '" << c.line() << "'\n";
    }
    if (options.model != "") return 0;
    if (options.kernels != "") out << sources(options.kernels, of_family);
    out << all.text() << " (" << backend_name() << ")\n";
    return all.failed > 0;
}

}  // namespace peri
