// Products of tiles that live in cache, for attention: there a call of BLAS would cost as much as
// the product itself.
#pragma once

namespace peri {

// As many numbers as one vector register holds (GCC's and clang's vector extension).
#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
template <class Real, int width>
struct VectorOf {
    typedef Real type __attribute__((vector_size(width * sizeof(Real))));
    // the same in memory: at any address, and allowed to stand for numbers of type Real there
    typedef Real stored
        __attribute__((vector_size(width * sizeof(Real)), aligned(alignof(Real)), may_alias));
};

// A matrix as stored: entry (i,j) is at[i * row + j * column].
template <class Real>
struct Strided {
    const Real* at;
    int row, column;
};

// Compilers would rather load a row of b again for every row of a.
template <class Vector>
inline void keep_in_register([[maybe_unused]] Vector& vector) {
#if defined(__x86_64__)
    asm("" : "+x"(vector));
#endif
}

// What a product does with c.
enum class Into { set, add };

// c (M, V vectors) = or += a (M,K) b (K, V vectors), held in registers throughout.
template <Into into, int width, int M, int V, class Real>
inline void register_matmul(Real* c, int ldc, Strided<Real> a, const Real* b, int ldb, int K) {
    using Vector = typename VectorOf<Real, width>::type;
    using Stored = typename VectorOf<Real, width>::stored;
    Vector sum[M][V];
#pragma GCC unroll 8
    for (int m = 0; m < M; m++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sum[m][v] = Vector{};
    for (int k = 0; k < K; k++) {
        Vector row[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) {
            row[v] = *reinterpret_cast<const Stored*>(b + k * ldb + v * width);
            keep_in_register(row[v]);
        }
#pragma GCC unroll 8
        for (int m = 0; m < M; m++) {
            const Real factor = a.at[m * a.row + k * a.column];
#pragma GCC unroll 2
            for (int v = 0; v < V; v++) sum[m][v] += factor * row[v];
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; m++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) {
            Stored* const at = reinterpret_cast<Stored*>(c + m * ldc + v * width);
            *at = into == Into::add ? *at + sum[m][v] : sum[m][v];
        }
}

// The columns of V vectors, four rows at a time: 4 x 2 sums keep both multipliers of a core busy.
template <Into into, int width, int V, class Real>
inline void column_matmul(Real* c, int ldc, Strided<Real> a, const Real* b, int ldb, int M, int K) {
    const auto rows_from = [&](int m) { return Strided<Real>{a.at + m * a.row, a.row, a.column}; };
    int m = 0;
    for (; m + 4 <= M; m += 4)
        register_matmul<into, width, 4, V>(c + m * ldc, ldc, rows_from(m), b, ldb, K);
    for (; m < M; m++)
        register_matmul<into, width, 1, V>(c + m * ldc, ldc, rows_from(m), b, ldb, K);
}

// c (M,N) = or += a (M,K) b (K,N);   c, b: their rows are ldc, ldb apart
// By columns: what vectors of the full width leave is done by those of half of it, down to 16 bytes.
template <Into into, class Real, int width = vector_bytes / sizeof(Real)>
void tile_matmul(Real* c, int ldc, Strided<Real> a, const Real* b, int ldb, int M, int N, int K) {
    int n = 0;
    for (; n + 2 * width <= N; n += 2 * width)
        column_matmul<into, width, 2>(c + n, ldc, a, b + n, ldb, M, K);
    for (; n + width <= N; n += width)
        column_matmul<into, width, 1>(c + n, ldc, a, b + n, ldb, M, K);
    if constexpr (width * sizeof(Real) > 16)
        return tile_matmul<into, Real, width / 2>(c + n, ldc, a, b + n, ldb, M, N - n, K);
    for (int m = 0; m < M; m++)
        for (int j = n; j < N; j++) {
            Real sum = into == Into::add ? c[m * ldc + j] : Real(0);
            for (int k = 0; k < K; k++) sum += a.at[m * a.row + k * a.column] * b[k * ldb + j];
            c[m * ldc + j] = sum;
        }
}

}  // namespace peri
