// A series as a few letters.
#include <cmath>
#include "catch.h"

#include "run/sparkline.h"

using namespace peri;

TEST_CASE("a sparkline shows a series between its smallest and its largest mean", "[sparkline]") {
    Sparkline line;
    CHECK(line.text(10).empty());
    for (int i = 7; i >= 0; i--) line.add(i);
    CHECK(line.text(8) == "█▇▆▅▄▃▂▁");
    CHECK(line.text(100) == "█▇▆▅▄▃▂▁");
    CHECK(line.text(4) == "█▆▃▁");
    CHECK(line.text(0).empty());
    line.add(NAN);
    line.add(3);
    CHECK(line.text(10) == "█▇▆▅▄▃▂▁ ▄");
    Sparkline flat;
    flat.add(2);
    flat.add(2);
    CHECK(flat.text(2) == "▁▁");
    Sparkline lost;
    lost.add(INFINITY);
    CHECK(lost.text(3) == " ");
}

TEST_CASE("a sparkline of very many numbers is that of their means", "[sparkline]") {
    Sparkline line;
    for (int i = 0; i < 100003; i++) line.add(i % 2 ? 1000 - i * 0.01 : 1002 - i * 0.01);
    CHECK(line.text(8) == "█▇▆▅▄▃▂▁");
}
