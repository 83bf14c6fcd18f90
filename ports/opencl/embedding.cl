// y[r] = table[tokens[r]]: a group takes a row, and copies it as it is stored.
kernel void embedding_forward(OUT(real, y), IN(real, table), IN(int, tokens), int C) {
    y += y_at, table += table_at, tokens += tokens_at;
    const size_t r = get_group_id(0), from = (size_t)tokens[r] * C;
    for (int c = get_local_id(0); c < C; c += GROUP) y[r * C + c] = table[from + c];
}

// dtable[tokens[r]] += dy[r]. Rows of one token are neighbours in order: the group that meets the first of them adds
// them all, so that each row of dtable is written by one group, in the order of the batch.
kernel void embedding_backward(OUT(float, dtable), IN(real, dy), IN(int, tokens), IN(int, order),
                               int R, int C) {
    dtable += dtable_at, dy += dy_at, tokens += tokens_at, order += order_at;
    const int i = get_group_id(0), token = tokens[order[i]];
    if (i > 0 && tokens[order[i - 1]] == token) return;  // the whole group
    for (int c = FIRST; c < C; c += STRIDE) {
        global float* const row = dtable + (size_t)token * C + c;
        pack sum = load_floats(row, C - c);
        for (int j = i; j < R && tokens[order[j]] == token; j++)
            sum += load(dy + (size_t)order[j] * C + c, C - c);
        store_floats(row, sum, C - c);
    }
}
