// What --view puts into its page. tests/test_view.py looks at the page in a browser.
#include "catch.h"
#include "helpers.h"
#include "jobs/view.h"

using namespace peri;

namespace {

const std::string header = "step,tokens,loss,grad_norm,lr,ms,tokens_per_s,mfu,memory_mib\n";

std::string row(int step, const std::string& loss, const std::string& norm = "1.5") {
    return std::to_string(step) + ",64," + loss + "," + norm + ",0.001,10,6400,0.5,100\n";
}

// The part of a page from `from` to `to`.
std::string between(const std::string& page, const std::string& from, const std::string& to) {
    const size_t begin = page.find(from);
    REQUIRE(begin != std::string::npos);
    return page.substr(begin, page.find(to, begin) - begin);
}

}  // namespace

TEST_CASE("view: columns of a run, gaps where there is no number, no line that was cut off",
          "[view]") {
    const TemporaryDirectory directory;
    directory.write("metrics.csv",
                    header + row(1, "2.5") + row(2, "nan") + row(3, "inf", "-nan") + "4,25");
    directory.write("validation.csv", "step,loss\n2,2.25\n");
    directory.write("probe.csv",
                    "step,layer,quantity,value\n0,0,hidden_variance,0.5\n0,1,hidden_variance,2\n"
                    "2,,spike,3.5\n2,0,hidden_variance,1e400\n2,1,hidden_variance,4\n2,1,residual_"
                    "covariance,7\n");
    const std::string page = view_page({directory / "."}, false);
    CHECK_THAT(page, contains("\"metrics\":{\"step\":[1.0,2.0,3.0],\"loss\":[2.5,null,null],"
                              "\"grad_norm\":[1.5,1.5,null],\"lr\":[0.001,0.001,0.001]"));
    CHECK_THAT(page, contains("\"validation\":{\"step\":[2.0],\"loss\":[2.25]}"));
    CHECK_THAT(page, contains("\"hidden_variance\":{\"step\":[0,2],\"layer\":[0,1],"
                              "\"value\":[[0.5,2.0],[null,4.0]]}"));
    CHECK_THAT(page, contains("\"spike\":{\"step\":[2.0],\"times\":[3.5]}"));
    CHECK_THAT(page, !contains("residual_covariance"));  // which no figure shows
    CHECK_THAT(page, contains("\"following\":false"));
}

TEST_CASE("view: many steps are thinned; the largest gradient norm of each part stays", "[view]") {
    const TemporaryDirectory directory;
    std::string text = header;
    for (int step = 1; step <= 10000; step++) text += row(step, "2", step == 7777 ? "99" : "1");
    directory.write("metrics.csv", text);
    const std::string page = view_page({directory / "."}, false);
    const std::string norms = between(page, "\"grad_norm\":[", "]");
    CHECK(std::count(norms.begin(), norms.end(), ',') == 1999);
    CHECK_THAT(norms, contains("99.0"));
    CHECK_THAT(between(page, "\"step\":[", "]"), contains("7777.0"));
}

TEST_CASE("view: a spike stays beside a norm that is no number; losses are their part's mean",
          "[view]") {
    const TemporaryDirectory directory;
    std::string text = header;
    for (int step = 1; step <= 6000; step++)
        text += row(step, step % 3 ? "1e-7" : "4e-7",
                    step == 3001   ? "99"
                    : step == 3002 ? "nan"
                                   : "1");
    directory.write("metrics.csv", text);
    std::string probes = "step,layer,quantity,value\n";
    for (int step = 0; step <= 1010; step += 10)
        probes += std::to_string(step) + ",0,hidden_variance,1\n";
    directory.write("probe.csv", probes);
    const std::string page = view_page({directory / "."}, false);
    CHECK_THAT(between(page, "\"grad_norm\":[", "]"), contains("99.0") && !contains("null"));
    const std::string losses = between(page, "\"loss\":[", "]");
    CHECK_THAT(losses, contains("[2e-07,2e-07,"));
    CHECK(losses.find_first_not_of("2e-07,", losses.find('[') + 1) == losses.npos);
    CHECK_THAT(between(page, "\"hidden_variance\":", "}"), contains(",1010]"));
}

TEST_CASE("view: names are text, whatever they hold", "[view]") {
    const TemporaryDirectory directory;
    const std::string name = "<script>alert(1)<\"'&\xff";
    std::filesystem::create_directory(directory / name);
    directory.write(name + "/metrics.csv", header + row(1, "2"));
    const std::string page = view_page({directory / name}, false);
    CHECK_THAT(page, !contains("<script>alert"));
    CHECK_THAT(page, contains("\\u003cscript>alert(1)\\u003c\\\"'&"));
}

TEST_CASE("view: of config.json what can be a setting, and nothing of a damaged one", "[view]") {
    const TemporaryDirectory directory;
    directory.write("metrics.csv", header + row(1, "2"));
    const auto config = [&](const std::string& text) {
        directory.write("config.json", text);
        return between(view_page({directory / "."}, false), "\"config\":", ",\"metrics\"");
    };
    CHECK(config("") == "\"config\":{}");
    CHECK(config("{\"norm\": ") == "\"config\":{}");
    CHECK(config("[1]") == "\"config\":{}");
    const std::string deep = std::string(400'000, '[') + std::string(400'000, ']');
    CHECK(config(deep) == "\"config\":{}");
    CHECK_THAT(config("{\"lr\": 0.5, \"deep\": " + deep + "}"), contains("{\"lr\":0.5}"));
    // of days of stories the floor is not worked out
    CHECK_THAT(config(R"({"val-batches": 1048576, "seq": 1048576})"), contains("\"floor\":null"));
    CHECK_THAT(config(R"({"val-batches": 1, "batch": 1})"), contains("\"floor\":0."));
}

TEST_CASE("view: a directory without a run is named", "[view]") {
    const TemporaryDirectory directory;
    CHECK_THROWS_WITH(view_page({directory / "."}, false),
                      contains(directory / ".") && contains("holds no run (metrics.csv)"));
    directory.write("metrics.csv", "step,loss\n1,2\n");
    CHECK_THROWS_WITH(view_page({directory / "."}, false), contains("has no column grad_norm"));
}
