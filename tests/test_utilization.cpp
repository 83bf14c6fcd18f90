// What the model asks of the machine, against a count by hand; the peak against a step's own products.
#include "catch.h"
#include "config.h"
#include "device.h"
#include "real.h"
#include "run/utilization.h"
#include "tolerance.h"

using namespace peri;

namespace {

ModelConfig config_of(int layers, int width, int ffn, int kv_heads, int vocab) {
    ModelConfig c = model_of(find_size("tiny"));
    c.layers = layers;
    c.width = width;
    c.heads = 4;
    c.kv_heads = kv_heads;
    c.ffn = ffn;
    c.vocab = vocab;
    c.norm = "peri";
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    return c;
}

}  // namespace

TEST_CASE("operations a token, counted by hand", "[utilization]") {
    // one layer, width 16, MLP 24, two of four heads for keys and values (width 8), 37 tokens
    const double attention = 16 * 16 + 2 * 8 * 16 + 16 * 16, mlp = 3 * 16 * 24, head = 37 * 16;
    CHECK(operations_per_token(config_of(1, 16, 24, 2, 37), 0) == 6 * (attention + mlp + head));
    // forward: q k^T and p v, 2 products of 2 C operations with each of T / 2 tokens; backward twice that
    CHECK(operations_per_token(config_of(3, 16, 24, 2, 37), 100) -
              operations_per_token(config_of(3, 16, 24, 2, 37), 0) ==
          3 * 3 * (2 * 2 * 16 * 50));
}

TEST_CASE("operations of the paper's largest model, as in the README's table", "[utilization]") {
    ModelConfig c = model_of(find_size("3.2b"));
    c.norm = "peri";
    c.vocab = 100277;
    resolve(c, "auto", Choice::automatic, Choice::automatic);
    CHECK(operations_per_token(c, 8192) / 1e9 == near(24.8, of_format(0.05)));  // of the digits
}

TEMPLATE_TEST_CASE("the peak is a speed that this machine can have", "[utilization]", float, bf16,
                   fp16) {
    if (std::string(backend_name()) != "cpu") return;  // a simulated one has no such speed
    const double peak = measured_peak<TestType>(false);
    // no core computes below a hundredth of, or above a thousand times, one product a nanosecond
    CHECK(peak > 1e7);
    CHECK(peak < 2e12 * get_threads());
}
