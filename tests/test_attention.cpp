#include "catch.h"
#include "gradcheck.h"
#include "problems/attention.h"

using namespace peri;

namespace {

struct Case {
    AttentionShape shape;  // B, Tq, Tk, first, H, KV, D
    Documents documents;
};

std::vector<Case> cases() {
    const AttentionShape twice{2, 7, 7, 0, 2, 1, 4}, late{2, 5, 12, 6, 4, 2, 3};
    return {{{1, 1, 1, 0, 1, 1, 1}, {}},
            {{1, 5, 5, 0, 1, 1, 2}, {}},
            {{2, 3, 3, 0, 6, 2, 5}, {}},
            {{1, 1, 9, 8, 3, 3, 2}, {}},   // the next token of a cached sequence
            {{1, 4, 11, 3, 2, 1, 7}, {}},  // keys beyond the last query
            {twice, two_documents(twice, 3)},
            {late, two_documents(late, 8)}};
}

// More queries than a tile of the implementation holds.
std::vector<Case> long_cases() {
    const AttentionShape cut{1, 130, 130, 0, 2, 1, 4};
    return {{{1, 70, 70, 0, 2, 1, 3}, {}},
            {{2, 66, 140, 65, 1, 1, 2}, {}},
            {cut, two_documents(cut, 67)}};
}

// The first key that query t of sequence b sees.
int first_key(const Case& c, int b, int t) {
    return c.documents.empty() ? 0 : c.documents[b * c.shape.Tq + t];
}

struct Reference {
    std::vector<double> out, lse;
};

// Straight from the equation in kernels.h, one query at a time.
Reference reference(const Case& c, const std::vector<double>& q, const std::vector<double>& k,
                    const std::vector<double>& v) {
    const AttentionShape& s = c.shape;
    Reference r{std::vector<double>(q.size()), std::vector<double>(size_t(s.B) * s.H * s.Tq)};
    for (int b = 0; b < s.B; b++)
        for (int t = 0; t < s.Tq; t++)
            for (int h = 0; h < s.H; h++) {
                const size_t query = ((size_t(b) * s.Tq + t) * s.H + h) * s.D;
                const auto key = [&](int j) {
                    return ((size_t(b) * s.Tk + j) * s.KV + h / (s.H / s.KV)) * s.D;
                };
                std::vector<long double> score(s.Tk), out(s.D);
                long double most = -INFINITY, sum = 0;
                for (int j = first_key(c, b, t); j <= s.first + t; j++) {
                    for (int d = 0; d < s.D; d++)
                        score[j] += (long double)(q[query + d]) * k[key(j) + d];
                    score[j] /= std::sqrt((long double)(s.D));
                    most = std::max(most, score[j]);
                }
                for (int j = first_key(c, b, t); j <= s.first + t; j++) {
                    const long double weight = std::exp(score[j] - most);
                    sum += weight;
                    for (int d = 0; d < s.D; d++) out[d] += weight * v[key(j) + d];
                }
                for (int d = 0; d < s.D; d++) r.out[query + d] = double(out[d] / sum);
                r.lse[(size_t(b) * s.H + h) * s.Tq + t] = double(most + std::log(sum));
            }
    return r;
}

std::string forward_errors(const Case& c, uint64_t seed, double magnitude) {
    auto p = attention<double>(c.shape, c.documents, seed);
    std::vector<double> q = p.values("q");
    for (double& value : q) value *= magnitude;
    p.set("q", q);
    p.run();
    const Reference r = reference(c, q, p.values("k"), p.values("v"));
    const double tolerance =
        roundings(8 * (c.shape.D + std::sqrt(c.shape.Tk))) * std::max(1.0, largest(r.lse));
    return difference(p.values("out"), r.out, tolerance) +
           difference(p.values("lse"), r.lse, tolerance) + p.errors();
}

// The same result for queries t0 .. of a sequence, asked for with first = t0.
std::vector<double> rows_from(const std::vector<double>& all, int t0, int row) {
    return {all.begin() + t0 * row, all.end()};
}

}  // namespace

TEST_CASE("attention: forward against its equation", "[attention]") {
    for (const uint64_t seed : seeds) {
        for (const Case& c : cases()) CHECK(forward_errors(c, seed, 1) == "");
        for (const Case& c : long_cases()) CHECK(forward_errors(c, seed, 1) == "");
    }
}

TEST_CASE("attention: scores in the thousands do not overflow", "[attention]") {
    for (const Case& c : cases()) CHECK(forward_errors(c, 1, 3000) == "");
}

TEST_CASE("attention: gradients", "[attention]") {
    for (const uint64_t seed : seeds)
        for (const Case& c : cases())
            CHECK(gradient_errors(attention<double>(c.shape, c.documents, seed)) == "");
}

TEST_CASE("attention: gradients of sequences longer than a tile", "[attention]") {
    for (const Case& c : long_cases())
        CHECK(gradient_errors(attention<double>(c.shape, c.documents, 1), 48) == "");
}

TEST_CASE("attention: keys that no query sees get exactly zero", "[attention]") {
    // Keys 0 .. 3 belong to a document that ended before the first query, key 9 comes later.
    const AttentionShape s{1, 4, 10, 5, 2, 1, 3};
    auto p = attention<double>(s, {4, 4, 4, 7}, 1);
    p.run();
    for (const std::string name : {"dk", "dv"}) {
        const std::vector<double> d = p.values(name);
        CHECK(nonzero({d.begin(), d.begin() + 4 * s.D}) == "");
        CHECK(nonzero({d.end() - s.D, d.end()}) == "");
        for (int j = 4; j < 9; j++)
            CHECK(nonzero({d.begin() + j * s.D, d.begin() + (j + 1) * s.D}) != "");
    }
}

TEST_CASE("attention: a query does not feel keys it does not see, to the bit", "[attention]") {
    const AttentionShape s{1, 70, 70, 0, 2, 1, 3};
    const int start = 20, last = 40;  // query `last` sees keys start .. last
    auto p = attention<double>(s, two_documents(s, start), 1);
    p.run();
    const std::vector<double> before = p.values("out"), dq_before = p.values("dq");
    std::vector<double> k = p.values("k"), v = p.values("v");
    for (int i = 0; i < s.Tk * s.D; i++)
        if (i / s.D < start || i / s.D > last) {
            k[i] *= -1e5;
            v[i] *= 1e10;
        }
    p.set("k", k);
    p.set("v", v);
    p.run();
    const std::vector<double> after = p.values("out"), dq_after = p.values("dq");
    const int row = s.H * s.D;
    const auto seen = [&](const std::vector<double>& all) {
        return std::vector<double>(all.begin() + start * row, all.begin() + (last + 1) * row);
    };
    CHECK(bit_difference(seen(after), seen(before)) == "");
    CHECK(bit_difference(seen(dq_after), seen(dq_before)) == "");
    CHECK(difference(after, before, 1) != "");
}

TEST_CASE("attention: the first token of a document attends to itself alone", "[attention]") {
    const AttentionShape s{1, 6, 6, 0, 1, 1, 2};
    auto p = attention<double>(s, two_documents(s, 4), 1);
    p.run();
    const std::vector<double> out = p.values("out"), v = p.values("v"), dq = p.values("dq");
    for (const int t : {0, 4})
        CHECK(difference({out[2 * t], out[2 * t + 1]}, {v[2 * t], v[2 * t + 1]}, roundings(8)) ==
              "");
}

TEST_CASE("attention: a cached sequence gives what the whole one gave", "[attention]") {
    const int T = 67, H = 4, KV = 2, D = 3, row = H * D;
    auto whole = attention<double>({1, T, T, 0, H, KV, D}, {}, 1);
    whole.run(Stage::forward);
    for (const int first : {1, 64, 66}) {
        CAPTURE(first);
        auto part = attention<double>({1, T - first, T, first, H, KV, D}, {}, 1);
        part.set("q", rows_from(whole.values("q"), first, row));
        part.set("k", whole.values("k"));
        part.set("v", whole.values("v"));
        part.run(Stage::forward);
        CHECK(difference(part.values("out"), rows_from(whole.values("out"), first, row),
                         roundings(64)) == "");
    }
}

TEST_CASE("attention: null documents are documents that start at 0", "[attention]") {
    const AttentionShape s{2, 7, 7, 0, 2, 1, 4};
    auto without = attention<double>(s, {}, 1);
    auto with = attention<double>(s, Documents(size_t(s.B) * s.Tq, 0), 1);
    without.run();
    with.run();
    // the arrays are numbered differently, so the inputs are carried over
    for (const std::string name : {"q", "k", "v", "dout"}) with.set(name, without.values(name));
    with.run();
    for (const std::string name : {"out", "lse", "dq", "dk", "dv"})
        CHECK(difference(with.values(name), without.values(name), roundings(64)) == "");
}

TEST_CASE("attention: the same bits twice", "[attention]") {
    const AttentionShape many{2, 66, 66, 0, 6, 3, 5};
    CHECK(bit_errors([&] { return attention<double>(many, {}, 1); }) == "");
}
