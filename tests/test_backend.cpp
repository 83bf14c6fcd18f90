// Which backend the tests run against, and what it says of itself.
#include <cstdlib>
#include <string>

#include "catch.h"
#include "device.h"

using namespace peri;

TEST_CASE("the backend under test is the one asked for", "[backend]") {
    const char* const asked = std::getenv("BACKEND");
    if (!asked) {
        WARN("skipped: BACKEND (cpu, cuda) asks for none; make test and make test-sim set it");
        return;
    }
    CHECK(std::string(backend_name()) == asked);
    CHECK(backend_description().rfind(asked, 0) == 0);
}
