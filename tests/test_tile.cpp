#include "cpu/tile.h"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.h"
#include "random.h"

using namespace peri;

namespace {

// Entries of c that are wrong: the product's, and those beside it, which must not change. K products
// and sums are rounded, by half an epsilon each, here and there.
template <Into into, class Real>
int wrong_entries(int M, int N, int K, bool transposed, Rng& random) {
    const int ldb = N + 3, ldc = N + 5;
    const auto numbers = [&](int n) {
        std::vector<Real> x(n);
        for (Real& value : x) value = static_cast<Real>(random.normal());
        return x;
    };
    const std::vector<Real> a = numbers(M * K), b = numbers(K * ldb), before = numbers(M * ldc);
    std::vector<Real> c = before;
    const Strided<Real> strided =
        transposed ? Strided<Real>{a.data(), 1, M} : Strided<Real>{a.data(), K, 1};
    tile_matmul<into, Real>(c.data(), ldc, strided, b.data(), ldb, M, N, K);
    int wrong = 0;
    for (int m = 0; m < M; m++)
        for (int n = 0; n < ldc; n++) {
            const double old = before[m * ldc + n];
            double exact = into == Into::add || n >= N ? old : 0, size = std::abs(exact);
            for (int k = 0; k < K && n < N; k++) {
                const double term = double(strided.at[m * strided.row + k * strided.column]) *
                                    double(b[k * ldb + n]);
                exact += term;
                size += std::abs(term);
            }
            const double most = n < N ? (K + 1) * std::numeric_limits<Real>::epsilon() * size : 0;
            wrong += !(std::abs(c[m * ldc + n] - exact) <= most);
        }
    return wrong;
}

}  // namespace

// Every number of columns: those of two vectors, one, half and a quarter of one, and single ones.
TEMPLATE_TEST_CASE("products of tiles", "[attention]", float, double) {
    Rng random(7);
    for (int N = 1; N <= 70; N++)
        for (const int M : {1, 3, 4, 9})
            for (const int K : {1, 6, 13})
                for (const bool transposed : {false, true}) {
                    CAPTURE(M, N, K, transposed);
                    CHECK(wrong_entries<Into::set, TestType>(M, N, K, transposed, random) == 0);
                    CHECK(wrong_entries<Into::add, TestType>(M, N, K, transposed, random) == 0);
                }
}
