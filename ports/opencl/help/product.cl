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
