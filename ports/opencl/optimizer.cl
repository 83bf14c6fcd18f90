// A double of value n 2^exponent, as its bits; n is rounded to the 53 that there are. 2^exponent is far from the ends of
// what a double holds.
ulong bits_of_double(ulong n, int exponent) {
    if (n == 0) return 0;
    const int above = 11 - (int)clz(n);  // bits that are too many
    const ulong kept = above > 0 ? (n + ((ulong)1 << (above - 1))) >> above : n << -above;
    return ((ulong)(1023 + 52 - 1 + exponent + above) << 52) + kept;  // of kept the first bit adds 1
}

// sums[b] = sum of g[i]^2 over block b, to more bits than float has and beyond its largest number, but without double,
// which many a device lacks: a float is m 2^(e - 150) with m < 2^24, so squares are whole numbers below 2^48, and 2^16
// of them, each taken down to the units of the largest, fit into 64 bits. A group takes a block.
kernel void sum_of_squares(OUT(ulong, sums), IN(float, g), ulong n, ulong block) {
    local uint shared[GROUP];
    local ulong shared_sums[GROUP];
    sums += sums_at, g += g_at;
    const size_t begin = get_group_id(0) * block, end = min(begin + block, (size_t)n);
    uint most = 0;
    for (size_t i = begin + get_local_id(0); i < end; i += GROUP)
        most = max(most, as_uint(g[i]) & 0x7fffffff);
    most = group_largest(most, shared);
    const int largest = max(most >> 23, 1u);
    ulong sum = 0;
    for (size_t i = begin + get_local_id(0); i < end; i += GROUP) {
        const uint size = as_uint(g[i]) & 0x7fffffff, e = size >> 23;
        const ulong m = (size & 0x7fffff) | (e > 0 ? 0x800000 : 0);  // without it: subnormal
        const int down = min(2 * (largest - (int)max(e, 1u)), 62);
        sum += (m * m + ((ulong)1 << down >> 1)) >> down;
    }
    sum = group_sum_whole(sum, shared_sums);
    if (get_local_id(0) > 0) return;
    sums[get_group_id(0)] = most > 0x7f800000    ? 0x7ff8000000000000  // NaN
                            : most == 0x7f800000 ? 0x7ff0000000000000  // infinity
                                                 : bits_of_double(sum, 2 * (largest - 150));
}

// Weights that updates add up in: the masters, or those that are float themselves.
#ifdef STORAGE_float
#define EXACT(w, master) (w)
#else
#define EXACT(w, master) (master)
#endif

// g' = *scale g,   m = beta1 m + (1 - beta1) g',   v = beta2 v + (1 - beta2) g'^2
// w -= lr (m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps) + weight_decay w)
kernel void adamw_update(OUT(real, w), OUT(float, master), OUT(float, m), OUT(float, v),
                         IN(float, g), IN(float, scale), ulong n, float lr, float beta1,
                         float beta2, float eps, float decay, float unbias1, float unbias2) {
    w += w_at, master += master_at, m += m_at, v += v_at, g += g_at, scale += scale_at;
    const float s = *scale;
    const size_t i = first_entry();
    if (i >= n || s == 0) return;
    const long left = n - i;
    const pack grad = s * load_floats(g + i, left);
    const pack m_i = beta1 * load_floats(m + i, left) + (1 - beta1) * grad;
    const pack v_i = beta2 * load_floats(v + i, left) + (1 - beta2) * grad * grad;
    const pack direction = m_i * unbias1 / (sqrt(v_i * unbias2) + eps);
    const pack old = load_floats(EXACT(w, master) + i, left);
    const pack exact = old - lr * (direction + decay * old);
    store_floats(m + i, m_i, left);
    store_floats(v + i, v_i, left);
    store_floats(EXACT(w, master) + i, exact, left);
    store(w + i, exact, left);
}

// m = momentum m + *scale g + weight_decay w,   w -= lr m
kernel void sgd_update(OUT(real, w), OUT(float, master), OUT(float, m), IN(float, g),
                       IN(float, scale), ulong n, float lr, float momentum, float decay) {
    w += w_at, master += master_at, m += m_at, g += g_at, scale += scale_at;
    const float s = *scale;
    const size_t i = first_entry();
    if (i >= n || s == 0) return;
    const long left = n - i;
    const pack old = load_floats(EXACT(w, master) + i, left);
    const pack m_i = momentum * load_floats(m + i, left) + s * load_floats(g + i, left) + decay * old;
    const pack exact = old - lr * m_i;
    store_floats(m + i, m_i, left);
    store_floats(EXACT(w, master) + i, exact, left);
    store(w + i, exact, left);
}
