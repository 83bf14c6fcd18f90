#include "problems/attention.h"

#include "suite.h"

namespace peri {

namespace {

// Scores, sums and statistics are kept in float, but p and ds may be rounded to bf16 before they
// meet v, dout, k and q, so that tensor cores can multiply them: one rounding of out and dv. dq and
// dk have that of ds and that of out, since dout . out is subtracted from dout . v: D roundings of
// terms of up to 1.5 1.5, over sqrt(D), times k or q. In dk those of several queries meet. Over 200
// seeds the worst made 2.0 in dq and 2.6 in dk: three times that. Each its own on top.
const Roundings roundings = {{"out", 2}, {"dv", 2}, {"dq", 4}, {"dk", 5}};

AttentionShape shape_of(const Case& c) {
    const AttentionShape s{c.size("B"), c.size("Tq"), c.size("Tk"), c.integer("first", 0),
                           c.size("H"), c.size("KV"), c.size("D")};
    c.require(s.first <= s.Tk - s.Tq, "first + Tq of at most Tk");
    c.require(s.H % s.KV == 0, "an H that is a multiple of KV");
    return s;
}

Documents documents_of(const Case& c, const AttentionShape& s) {
    return c.yes("documents") ? two_documents(s, s.first + s.Tq / 2) : Documents();
}

// k = 8: p carries the error of a score of D terms, and dq, dk are products of p with a difference
// of two sums.
std::string attention_errors(const Case& c) {
    const AttentionShape s = shape_of(c);
    const Documents documents = documents_of(c, s);
    const auto make = [&](auto t) { return attention<decltype(t)>(s, documents, c.seed()); };
    double seen = 0;  // pairs of query and key
    for (int t = 0; t < s.Tq; t++) seen += std::min(s.first + t + 1, s.Tk);
    const double multiply = 2.0 * s.B * s.H * s.D * seen;
    return conform(c, make, 8, roundings, {2 * multiply, 5 * multiply});
}

// Scores in the hundreds, whose exponentials overflow; the rounding error of a score, and with it
// of p, is as many times larger. Of narrow types forward alone: where all p are almost 0 or 1, dk is a
// small difference, which the rounding of out hides, times a large q.
std::string large_score_errors(const Case& c) {
    const AttentionShape s = shape_of(c);
    const Documents documents = documents_of(c, s);
    const bool forward_alone = c.word("type") != "float";
    constexpr double larger = 256;
    const auto make = [&](auto t) {
        auto p = attention<decltype(t)>(s, documents, c.seed());
        std::vector<double> q = p.values("q");
        for (double& value : q) value *= larger;
        p.set("q", q);
        if (forward_alone) p.backward = nullptr;
        return p;
    };
    return conform(c, make, 8 * larger, roundings);
}

// Keys 0 .. 3 belong to a document that ended before the first query, key 9 comes later: dk and dv
// are zero there, exactly, and nowhere else.
std::string unseen_key_errors(const Case& c) {
    const AttentionShape s{1, 4, 10, 5, 2, 1, c.size("D")};
    return with_type(c, [&](auto t) {
        auto p = attention<decltype(t)>(s, {4, 4, 4, 7}, c.seed());
        std::string errors = p.run().errors();
        for (const std::string name : {"dk", "dv"}) {
            const std::vector<double> d = p.values(name);
            for (int j = 0; j < s.Tk; j++) {
                const bool seen = j >= 4 && j < 9;
                const std::string other = nonzero({&d[j * s.D], &d[j * s.D] + s.D});
                if (seen && other == "")
                    errors += name + " of key " + std::to_string(j) + " is 0\n";
                if (!seen && other != "")
                    errors += name + " of key " + std::to_string(j) + " " + other + "\n";
            }
        }
        return errors;
    });
}

// Query `last` sees keys start .. last: neither out nor dq of the queries from start to last may
// change by a bit when all others do.
std::string hidden_key_errors(const Case& c) {
    const AttentionShape s{1, 70, 70, 0, 2, 1, c.size("D")};
    const int start = 20, last = 40, row = s.H * s.D;
    const auto seen = [&](const std::vector<double>& all) {
        return std::vector<double>(all.begin() + start * row, all.begin() + (last + 1) * row);
    };
    return with_type(c, [&](auto t) {
        auto p = attention<decltype(t)>(s, two_documents(s, start), c.seed());
        p.run();
        const double large = c.word("type") == "fp16" ? 3e4 : 1e10;  // within what it can hold
        const std::vector<double> out = p.values("out"), dq = p.values("dq");
        for (const std::string name : {"k", "v"}) {
            std::vector<double> values = p.values(name);
            for (int i = 0; i < s.Tk * s.D; i++)
                if (i / s.D < start || i / s.D > last) values[i] *= name == "k" ? -large : large;
            p.set(name, values);
        }
        p.run();
        const bool changed = difference(p.values("out"), out, 1) != "";
        return p.errors() + bit_difference(seen(p.values("out")), seen(out)) +
               bit_difference(seen(p.values("dq")), seen(dq)) +
               (changed ? "" : "the other queries do not feel their keys\n");
    });
}

// ds of the second query is beyond fp16's numbers, and so is what comes of it: not finite, so that
// the step is seen to have overflowed. dv, of p alone, is as always.
std::string overflow_errors(const Case& c) {
    const int D = c.size("D");
    auto p = attention<fp16>({1, 2, 2, 0, 1, 1, D}, {}, c.seed());
    const auto both = [&](double first, double second) {
        std::vector<double> rows(2 * D, first);
        std::fill(rows.begin() + D, rows.end(), second);
        return rows;
    };
    p.set("q", both(0.25, 0.25));
    p.set("k", both(1, -0.5));
    p.set("v", both(100, -100));
    p.set("dout", both(2e4, 2e4));
    p.run();
    std::string errors;
    const auto finite = [&](const std::string& name, int i) {
        return std::isfinite(p.values(name)[i]);
    };
    for (int i = 0; i < 2 * D; i++)
        if ((i >= D && finite("dq", i)) || finite("dk", i) || !finite("dv", i))
            errors += "entry " + std::to_string(i) + ": dq or dk is finite, or dv is not\n";
    return errors;
}

// No T x T matrix in the kernels that every backend has: four times the sequence takes at most four times
// the memory.
std::string workspace_errors(const Case& c) {
    const int T = c.size("T"), H = c.size("H"), D = c.size("D");
    set_attention(AttentionBy::tiles);
    const std::string errors = with_type(c, [&](auto t) {
        using Real = decltype(t);
        const size_t once = attention_workspace<Real>({1, T, T, 0, H, H, D});
        const size_t more = attention_workspace<Real>({1, 4 * T, 4 * T, 0, H, H, D});
        return more <= 4 * once ? ""
                                : std::to_string(once) + " bytes become " + std::to_string(more);
    });
    set_attention(AttentionBy::automatic);
    return errors;
}

std::string line(AttentionShape s, bool documents) {
    const auto text = [](const char* name, int value) { return name + std::to_string(value); };
    return text("B=", s.B) + text(" Tq=", s.Tq) + text(" Tk=", s.Tk) + text(" first=", s.first) +
           text(" H=", s.H) + text(" KV=", s.KV) + text(" D=", s.D) +
           (documents ? " documents=yes" : " documents=no");
}

std::vector<std::string> cases() {
    std::vector<std::string> result = {
        line({1, 1, 1, 0, 1, 1, 1}, false), line({1, 5, 5, 0, 1, 1, 2}, false),
        line({2, 3, 3, 0, 6, 2, 5}, false),
        line({1, 1, 9, 8, 3, 3, 2}, false),   // the next token of a cached sequence
        line({1, 4, 11, 3, 2, 1, 7}, false),  // keys beyond the last query
        line({2, 7, 7, 0, 2, 1, 4}, true), line({2, 5, 12, 6, 4, 2, 3}, true),
        // more queries or keys than a tile of an implementation holds
        line({1, 70, 70, 0, 2, 1, 3}, false), line({2, 66, 140, 65, 1, 1, 2}, false),
        line({1, 130, 130, 0, 2, 1, 4}, true), line({2, 66, 66, 0, 6, 3, 5}, false)};
    for (const int D : {64, 80, 128, 160, 1, 3, 8, 33, 96}) {
        result.push_back(line({2, 1, 1, 0, 2, 1, D}, false));
        result.push_back(line({2, 17, 17, 0, 4, 2, D}, true));
        result.push_back(line({1, 65, 65, 0, 2, 1, D}, D == 80 || D == 160));
    }
    result.push_back(line({1, 130, 130, 0, 1, 1, 64}, false));
    result.push_back(line({1, 130, 130, 0, 1, 1, 80}, true));
    result.push_back(line({1, 65, 130, 65, 2, 1, 64}, false));
    result.push_back(line({1, 3, 67, 64, 2, 2, 128}, false));
    result.push_back(line({2, 17, 100, 66, 2, 1, 160}, true));
    return result;
}

std::vector<std::string> in_model(const Case& m) {
    const int T = m.size("T"), H = m.size("H");
    return {line({m.size("B"), T, T, 0, H, H, m.size("C") / H}, false)};
}

}  // namespace

Family attention_checks() {
    return {
        "attention",
        {{.name = "attention", .errors = attention_errors, .cases = cases(), .in_model = in_model},
         // many tiles, of which most have nothing to hide; what the last queries of a long sequence see
         {"attention_long",
          attention_errors,
          {line({1, 1024, 1024, 0, 1, 1, 64}, false), line({1, 1024, 1024, 0, 2, 1, 128}, true),
           line({1, 300, 4096, 3796, 1, 1, 80}, false)},
          {"bf16", "fp16"}},
         {"attention_large_scores",
          large_score_errors,
          {line({2, 7, 7, 0, 2, 1, 4}, true), line({1, 70, 70, 0, 2, 1, 3}, false),
           line({1, 17, 17, 0, 2, 1, 64}, false)}},
         {"attention_unseen_keys", unseen_key_errors, {"D=3", "D=64"}},
         {"attention_hidden_keys", hidden_key_errors, {"D=3", "D=64"}},
         {"attention_overflow", overflow_errors, {"D=3", "D=64"}, {"fp16"}},
         {"attention_workspace", workspace_errors, {"T=1000 H=4 D=8", "T=1024 H=2 D=128"}}}};
}

}  // namespace peri
