// y[r,o] += bias[o]: a group takes a row
kernel void add_bias(OUT(real, y), IN(float, bias), int O) {
    y += y_at + get_group_id(0) * O, bias += bias_at;
    for (int o = FIRST; o < O; o += STRIDE)
        store(y + o, load(y + o, O - o) + load_floats(bias + o, O - o), O - o);
}

// dbias[o] += sum_r dy[r,o]: a work-item takes outputs
kernel void add_dbias(OUT(float, dbias), IN(real, dy), int R, int O) {
    dbias += dbias_at, dy += dy_at;
    const int o = first_entry();
    if (o >= O) return;
    pack sum = 0;
    for (size_t r = 0; r < R; r++) sum += load(dy + r * O + o, O - o);
    store_floats(dbias + o, load_floats(dbias + o, O - o) + sum, O - o);
}
