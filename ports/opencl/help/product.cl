// The row of a block as float.
kernel void widen(OUT(float, y), IN(real, x), int ld_y, int ld_x, int cols) {
    const size_t row = get_group_id(0);
    y += y_at + row * ld_y, x += x_at + row * ld_x;
    for (int c = FIRST; c < cols; c += STRIDE)
        store_floats(y + c, load(x + c, cols - c), cols - c);
}

// c = block, or c += block: a row
kernel void round_block(OUT(real, c), IN(float, block), int ld_c, int ld_block, int cols, int add) {
    const size_t row = get_group_id(0);
    c += c_at + row * ld_c, block += block_at + row * ld_block;
    for (int i = FIRST; i < cols; i += STRIDE) {
        const pack sum = load_floats(block + i, cols - i);
        store(c + i, add ? load(c + i, cols - i) + sum : sum, cols - i);
    }
}

// ---- on a processor -----------------------------------------------------------------------------

#define PANEL (2 * WIDE)  // columns of b that lie together, row by row
#define ROWS 6            // of a that a work-item takes

// panels[p,k,j] = b[k, p PANEL + j], 0 beyond its columns: a work-item takes a row of a panel
kernel void make_panels(OUT(float, panels), IN(float, b), int step_k, int step_n, int K, int N) {
    panels += panels_at, b += b_at;
    const size_t row = get_global_id(0), k = row % K, n0 = row / K * PANEL;
    if (n0 >= N) return;
    for (size_t n = n0; n < n0 + PANEL; n++)
        panels[row * PANEL + n - n0] = n < N ? b[k * step_k + n * step_n] : 0;
}

// c = a b, or c += a b: a work-item takes ROWS rows of a panel's columns, and of rows that are not there the last
kernel void multiply(OUT(float, c), IN(float, a), IN(float, panels), int ld, int step_m, int step_k,
                     int M, int N, int K, int add) {
    c += c_at, a += a_at, panels += panels_at;
    const size_t tiles = (M + ROWS - 1) / ROWS, panel = get_global_id(0) / tiles;
    const int m0 = get_global_id(0) % tiles * ROWS, n0 = panel * PANEL;
    if (n0 >= N) return;
    pack low[ROWS], high[ROWS];
    global const float* row[ROWS];
    for (int i = 0; i < ROWS; i++) {
        low[i] = high[i] = 0;
        row[i] = a + (size_t)min(m0 + i, M - 1) * step_m;
    }
    global const float* b = panels + panel * K * PANEL;
    for (int k = 0; k < K; k++, b += PANEL) {
        const pack b_low = load_floats(b, WIDE), b_high = load_floats(b + WIDE, WIDE);
        for (int i = 0; i < ROWS; i++) {
            const float a_ik = row[i][(size_t)k * step_k];
            low[i] += a_ik * b_low;
            high[i] += a_ik * b_high;
        }
    }
    for (int i = 0; i < min(ROWS, M - m0); i++) {
        global float* const to = c + (size_t)(m0 + i) * ld + n0;
        const int left = N - n0;
        store_floats(to, add ? load_floats(to, left) + low[i] : low[i], left);
        if (left > WIDE)
            store_floats(to + WIDE, add ? load_floats(to + WIDE, left - WIDE) + high[i] : high[i],
                         left - WIDE);
    }
}
