#include "run/share.h"

#include <bit>
#include <fstream>
#include <iterator>

#include "check.h"
#include "comm.h"
#include "store/files.h"

namespace peri {

Share share_of(const RunConfig& run, int rank) {
    const int sequences = run.sequences(), ranks = run.ranks, count = sequences / ranks;
    const std::string step = "--batch " + std::to_string(run.batch) + " times --accumulate " +
                             std::to_string(run.accumulate);
    if (sequences % ranks)
        throw UserError(step + " are " + std::to_string(sequences) + " sequences, which " +
                        std::to_string(ranks) +
                        " processes cannot share equally: choose a multiple of " +
                        std::to_string(ranks));
    const bool sub_tree =
        count % run.batch == 0 && std::has_single_bit(static_cast<unsigned>(count / run.batch));
    if (run.reproducible && ranks > 1 && !sub_tree)
        throw UserError("--reproducible: each of " + std::to_string(ranks) +
                        " processes needs 1, 2, 4, 8, ... whole micro-batches, and " + step +
                        " gives none of these: choose --accumulate " + std::to_string(ranks) +
                        ", or that times a power of two");
    return {rank * count, count};
}

namespace {

// The program's own file, where the system says which it is.
std::string this_program() {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

void require_same_run(const RunConfig& run, const std::string& data) {
    if (comm::size() == 1) return;
    const std::vector<std::vector<double>> all = comm::exchange(
        {double(checksum(this_program())), double(checksum(run.json)), double(checksum(data))});
    const char* const names[] = {"program", "settings", "data"};
    for (size_t r = 1; r < all.size(); r++)
        for (size_t i = 0; i < all[r].size(); i++)
            if (all[r][i] != all[0][i])
                throw UserError("process " + std::to_string(r) + " has another " + names[i] +
                                " than process 0: start all of them with the same program, flags "
                                "and files");
}

}  // namespace peri
