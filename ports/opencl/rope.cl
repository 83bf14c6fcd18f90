// y[i] = x[i] cos - sign x[i+D/2] sin,   y[i+D/2] = x[i+D/2] cos + sign x[i] sin
// A group takes a token, a work-item WIDE pairs of a head at a time.
kernel void rotate_pairs(OUT(real, y), IN(real, x), IN(float, table), int T, int H, int D,
                         int first, float turn) {
    const size_t row = get_group_id(0);
    const int pairs = D / 2, packs = (pairs + WIDE - 1) / WIDE;
    y += y_at, x += x_at, table += table_at + (first + row % T) * D;
    for (int n = get_local_id(0); n < H * packs; n += GROUP) {
        const int i = n % packs * WIDE, left = pairs - i;
        const size_t at = (row * H + n / packs) * D + i;
        const pack a = load(x + at, left), b = load(x + at + pairs, left);
        const pack c = load_floats(table + i, left), s = turn * load_floats(table + pairs + i, left);
        store(y + at, a * c - b * s, left);
        store(y + at + pairs, b * c + a * s, left);
    }
}
