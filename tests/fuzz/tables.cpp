// Any bytes as the tables of a run that goes on: what is kept are whole rows up to its step in order, the
// same when it goes on again, and rows added behind them stay. The first two bytes choose the table and the
// step; the header is put before the rest, unless that has one.
#include <algorithm>
#include <cmath>
#include <span>

#include "fuzz.h"
#include "probe/probe_file.h"
#include "run/metrics.h"
#include "store/csv.h"
#include "store/files.h"
#include "store/saved.h"

namespace {

using namespace peri;

struct Table {
    std::string name, header, row;  // behind a step
};
const Table tables[] = {
    {"metrics.csv", "step,tokens,loss,grad_norm,lr,ms,tokens_per_s,mfu,memory_mib",
     ",2,3,4,5,6,7,8,9"},
    {"validation.csv", "step,loss", ",2.5"},
    {"probe.csv", "step,layer,quantity,value", ",,spike,4"}};

void clear() {
    for (const auto& entry : std::filesystem::directory_iterator(input_folder().path()))
        std::filesystem::remove_all(entry.path());
}

int64_t step_of(const std::string& row) { return std::stoll(row.substr(0, row.find(','))); }

std::vector<std::string> kept(const Table& table, int64_t done) {
    return StepFile(input_folder().path() + "/" + table.name, table.header, done).kept();
}

void go_on(const Table& table, int64_t done) {
    const std::vector<std::string> rows = kept(table, done);
    const std::string path = input_folder().path() + "/" + table.name;
    std::string text = table.header + "\n";
    for (size_t i = 0; i < rows.size(); i++) {
        CHECK(step_of(rows[i]) <= done && step_of(rows[i]) >= step_of(rows[i ? i - 1 : 0]));
        CHECK(std::ranges::count(rows[i], ',') == std::ranges::count(table.header, ','));
        text += rows[i] + "\n";
    }
    CHECK(read_text(path) == text);
    CHECK(csv_rows(path).size() == rows.size() + 1);
    const std::string next = std::to_string(done + 1) + table.row;
    {
        StepFile file(path, table.header, done);
        CHECK(file.kept() == rows);
        file.add(next);
    }
    CHECK(kept(table, done) == rows);  // the row is of a later step
    StepFile(path, table.header, done).add(next);
    const std::vector<std::string> more = kept(table, done + 1);
    CHECK(more.size() == rows.size() + 1 && more.back() == next);
}

// What a checkpoint knows stays, whatever stands behind it.
void check_known(const Table& table, int64_t done, const std::string& behind) {
    const std::vector<std::string> rows = kept(table, done);
    const std::string path = input_folder().path() + "/" + table.name;
    const std::string line = StepFile(path, table.header, done).synced();
    std::filesystem::create_directory(input_folder().path() + "/" + step_name(done));
    input_folder().write(step_name(done) + "/rows.txt", line);
    input_folder().write(table.name, read_text(path) + behind);
    const std::vector<std::string> more = kept(table, done);
    CHECK(more.size() >= rows.size() &&
          std::ranges::equal(rows, std::span(more).first(rows.size())));
}

}  // namespace

void peri::read_input(const std::string& input) {
    if (input.size() < 2) return;
    clear();
    const Table& table = tables[static_cast<unsigned char>(input[0]) % 3];
    const int64_t done = static_cast<unsigned char>(input[1]) % 16;
    const std::string rest = input.substr(2);
    const std::string file = (rest.starts_with("step") ? "" : table.header + "\n") + rest;
    const std::string path = input_folder().write(table.name, file);
    for (const std::vector<std::string>& row : csv_rows(path)) CHECK(row.size() >= 1);
    use_or_refuse([&] {
        go_on(table, done);
        if (done > 0) check_known(table, done, rest);
        const std::string directory = input_folder().path();
        const MetricsFiles metrics(directory, done);
        for (const StepMetrics& m : metrics.earlier()) CHECK(m.step >= 0 && m.step <= done);
        for (const Validation& v : metrics.earlier_validations()) CHECK(v.step <= done);
        const ProbeFile probes(directory, done, metrics.earlier());
    });
}
