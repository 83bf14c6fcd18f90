// Any bytes as the files of a run that --view draws: the page is the empty one with one JSON text put in,
// which nothing in the files ends early.
#include "jobs/view.h"

#include "fuzz.h"
#include "json.h"

namespace {

size_t count(const std::string& text, const std::string& word) {
    size_t n = 0;
    for (size_t i = 0; (i = text.find(word, i)) != text.npos; i++) n++;
    return n;
}

}  // namespace

// The files lie behind each other, with a line of three dashes between.
void peri::read_input(const std::string& input) {
    size_t begin = 0;
    for (const char* name : {"config.json", "metrics.csv", "validation.csv", "probe.csv"}) {
        const size_t end = std::min(input.find("---\n", begin), input.size());
        input_folder().write(name, input.substr(begin, end - begin));
        begin = std::min(end + 4, input.size());
    }
    use_or_refuse([&] {
        static const std::string empty = view_page({}, false);
        const std::string page = view_page({input_folder().path()}, false);
        for (const char* word : {"<script", "</script", "<!--", "\r"})
            CHECK(count(page, word) == count(empty, word));
        const std::string place = "id=\"data\">";
        const size_t first = page.find(place) + place.size();
        const auto data = nlohmann::json::parse(page.substr(first, page.find("</script") - first));
        const nlohmann::json& run = data.at("runs").at(0);
        CHECK(data.at("runs").size() == 1 && run.at("config").is_object());
        for (const char* columns : {"metrics", "validation"})
            for (const nlohmann::json& column : run.at(columns))
                CHECK(column.size() == run.at(columns).at("step").size());
        for (const nlohmann::json& column : run.at("metrics"))
            for (const nlohmann::json& cell : column) CHECK(cell.is_number() || cell.is_null());
    });
}
