// The conformance suite: what makes a backend one, case by case. A case is a line,
//   attention B=1 Tq=17 Tk=17 first=0 H=4 KV=2 D=64 documents=yes type=bf16 seed=1
// the name of a check and its parameters, and the line runs the case again. A check may be listed
// with some sizes and run with any: bringing a backend up, one writes lines of one's own.
#pragma once

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "problem.h"
#include "timing.h"

namespace peri {

class Case {
  public:
    explicit Case(const std::string& line);

    const std::string& line() const { return line_; }
    const std::string& check() const { return check_; }
    std::vector<std::string> parameters() const;  // their names

    // A parameter's value; UserError where it is none of that kind.
    std::string word(const std::string& parameter) const;
    int integer(const std::string& parameter, int least) const;
    int size(const std::string& parameter) const { return integer(parameter, 1); }
    double real(const std::string& parameter) const;
    bool yes(const std::string& parameter) const;
    size_t choice(const std::string& parameter, const std::vector<std::string>& all) const;
    uint64_t seed() const { return static_cast<uint64_t>(integer("seed", 0)); }

    // UserError with the line and what its parameters must be, unless they are.
    void require(bool condition, const std::string& what) const;

    bool timed = false;  // to be timed, not compared

  private:
    std::string line_, check_;
    std::vector<std::pair<std::string, std::string>> values_;
};

struct Check {
    std::string name;
    std::string (*errors)(const Case&);  // what is wrong, "" when nothing is
    std::vector<std::string> cases;      // the parameters but for type and seed
    std::vector<std::string> types = {"float", "bf16", "fp16"};
    bool (*supported)(const Case&) = nullptr;  // by the backend; null: always
    // The cases that a model's step is made of; c has B, T, C, H, F and V. null: none.
    std::vector<std::string> (*in_model)(const Case& c) = nullptr;
};

struct Family {
    std::string name;
    std::vector<Check> checks;
};

Family norm_checks(), linear_checks(), rope_checks(), attention_checks(), activation_checks(),
    embedding_checks(), residual_checks(), loss_checks(), optimizer_checks(), few_bits_checks();

// Runs what the arguments ask for and returns the program's exit code: 1 where a case failed.
int run_suite(const std::vector<Family>& suite, const std::string& program,
              const std::vector<std::string>& arguments, std::ostream& out);

// test(T(0)) of the case's type
template <class Test>
std::string with_type(const Case& c, Test test) {
    const std::string type = c.word("type");
    return type == "float" ? test(float(0)) : type == "bf16" ? test(bf16(0.0f)) : test(fp16(0.0f));
}

// conformance_errors of the case's type, or how long it takes
template <class Make>
std::string conform(const Case& c, Make make, double k, const Roundings& of_narrow = {},
                    const Operations& operations = {}) {
    return with_type(c, [&]<class Real>(Real zero) {
        return c.timed ? timing<Real>(make(zero), operations)
                       : conformance_errors<Real>(
                             make, k, std::is_same_v<Real, float> ? Roundings() : of_narrow);
    });
}

}  // namespace peri
