// The derivations are in src/cpu/norm.cpp. A group takes a row; the sums over rows that dgamma and dbeta are have
// kernels of their own, in which a work-item takes a column.

// 1 / sqrt(mean square), and NaN where the sum of squares has overflowed: 1 / inf = 0 would turn a hidden state that
// has exploded into a calm row of zeros.
float reciprocal_root(float mean_square) {
    return mean_square <= FLT_MAX ? 1 / sqrt(mean_square) : NAN;
}

// alpha z[c ..], or 0 where nothing is added
pack added(global const real* z, float alpha, size_t at, int n) {
    return z ? alpha * load(z + at, n) : 0;
}

// ---- RMSNorm ------------------------------------------------------------------------------------

// y_p = gamma_p a_p s,   s = (ms + eps)^(-1/2),   ms = 1/C sum_k a_k^2
kernel void rmsnorm_forward(OUT(real, y), OUT(float, rstd), IN(real, x), IN(float, gamma), int C,
                            float eps, float alpha, IN(real, z)) {
    local float shared[GROUP];
    const size_t r = get_group_id(0), row = r * C;
    y += y_at, rstd += rstd_at, x += x_at, gamma += gamma_at, z += z_at;
    pack squares = 0;
    for (int c = FIRST; c < C; c += STRIDE) {
        const pack a = load(x + row + c, C - c);
        squares += a * a;
    }
    const float s = reciprocal_root(group_sum(sum_of(squares), shared) / C + eps);
    if (get_local_id(0) == 0) rstd[r] = s;
    for (int c = FIRST; c < C; c += STRIDE) {
        const pack a = load(x + row + c, C - c), g = load_floats(gamma + c, C - c);
        store(y + row + c, added(z, alpha, row + c, C - c) + g * a * s, C - c);
    }
}

// d_a_q = s gamma_q d_y_q - a_q s^3 / C sum_p gamma_p d_y_p a_p
kernel void rmsnorm_backward(OUT(real, dx), IN(real, dy), IN(real, x), IN(float, gamma),
                             IN(float, rstd), int C, float alpha, IN(real, z)) {
    local float shared[GROUP];
    const size_t r = get_group_id(0), row = r * C;
    dx += dx_at, dy += dy_at, x += x_at, gamma += gamma_at, rstd += rstd_at, z += z_at;
    const float s = rstd[r];
    pack dot = 0;
    for (int c = FIRST; c < C; c += STRIDE)
        dot += load_floats(gamma + c, C - c) * load(dy + row + c, C - c) *
               load(x + row + c, C - c);
    const float along = group_sum(sum_of(dot), shared) * s * s * s / C;
    for (int c = FIRST; c < C; c += STRIDE) {
        const pack a = load(x + row + c, C - c), g = load_floats(gamma + c, C - c);
        const pack d = load(dy + row + c, C - c);
        store(dx + row + c, added(z, alpha, row + c, C - c) + s * g * d - a * along, C - c);
    }
}

// ---- LayerNorm ----------------------------------------------------------------------------------

kernel void layernorm_forward(OUT(real, y), OUT(float, mean), OUT(float, rstd), IN(real, x),
                              IN(float, gamma), IN(float, beta), int C, float eps, float alpha,
                              IN(real, z)) {
    local float shared[GROUP];
    const size_t r = get_group_id(0), row = r * C;
    y += y_at, mean += mean_at, rstd += rstd_at, x += x_at, gamma += gamma_at, beta += beta_at;
    z += z_at;
    pack sum = 0;
    for (int c = FIRST; c < C; c += STRIDE) sum += load(x + row + c, C - c);
    const float m = group_sum(sum_of(sum), shared) / C;
    pack squares = 0;
    for (int c = FIRST; c < C; c += STRIDE) {
        const pack a = there(load(x + row + c, C - c) - m, C - c, 0);
        squares += a * a;
    }
    const float s = reciprocal_root(group_sum(sum_of(squares), shared) / C + eps);
    if (get_local_id(0) == 0) mean[r] = m, rstd[r] = s;
    for (int c = FIRST; c < C; c += STRIDE) {
        const pack a = load(x + row + c, C - c), g = load_floats(gamma + c, C - c);
        store(y + row + c,
              added(z, alpha, row + c, C - c) + g * (a - m) * s + load_floats(beta + c, C - c),
              C - c);
    }
}

// d_a_q = s (gamma_q d_y_q - 1/C sum_p gamma_p d_y_p - z_q / C sum_p gamma_p d_y_p z_p),
// z_p = (a_p - mean) s
kernel void layernorm_backward(OUT(real, dx), IN(real, dy), IN(real, x), IN(float, gamma),
                               IN(float, mean), IN(float, rstd), int C, float alpha, IN(real, z)) {
    local float shared[GROUP];
    const size_t r = get_group_id(0), row = r * C;
    dx += dx_at, dy += dy_at, x += x_at, gamma += gamma_at, mean += mean_at, rstd += rstd_at;
    z += z_at;
    const float m = mean[r], s = rstd[r];
    pack sum = 0, dot = 0;
    for (int c = FIRST; c < C; c += STRIDE) {
        const pack d = load_floats(gamma + c, C - c) * load(dy + row + c, C - c);
        sum += d;
        dot += d * (load(x + row + c, C - c) - m) * s;
    }
    const float sum_all = group_sum(sum_of(sum), shared) / C;
    const float dot_all = group_sum(sum_of(dot), shared) / C;
    for (int c = FIRST; c < C; c += STRIDE) {
        const pack a = (load(x + row + c, C - c) - m) * s, g = load_floats(gamma + c, C - c);
        const pack d = load(dy + row + c, C - c);
        store(dx + row + c,
              added(z, alpha, row + c, C - c) + s * (g * d - sum_all - a * dot_all), C - c);
    }
}

// ---- sums over rows -----------------------------------------------------------------------------

// partial[part,c] = sum over the part's rows of dy[r,c] z[r,c], and of dy[r,c] in partial_dy where that is wanted;
// z = (x - mean) rstd, mean null: 0. A group takes columns of one part.
kernel void sum_rows(OUT(float, partial), OUT(float, partial_dy), IN(real, dy), IN(real, x),
                     IN(float, mean), IN(float, rstd), int R, int C, int parts) {
    partial += partial_at, partial_dy += partial_dy_at, dy += dy_at, x += x_at, mean += mean_at;
    rstd += rstd_at;
    const size_t part = get_group_id(0) % parts;
    const int c = (int)(get_group_id(0) / parts) * STRIDE + FIRST;
    if (c >= C) return;
    pack sum = 0, sum_dy = 0;
    for (size_t r = R * part / parts; r < R * (part + 1) / parts; r++) {
        const pack d = load(dy + r * C + c, C - c), a = load(x + r * C + c, C - c);
        sum += d * (a - (mean ? mean[r] : 0)) * rstd[r];
        sum_dy += d;
    }
    store_floats(partial + part * C + c, sum, C - c);
    if (partial_dy) store_floats(partial_dy + part * C + c, sum_dy, C - c);
}

// total[c] += sum over the parts, in their order
kernel void add_parts(OUT(float, total), IN(float, partial), int parts, int C) {
    total += total_at, partial += partial_at;
    const int c = (int)first_entry();
    if (c >= C) return;
    pack sum = 0;
    for (int part = 0; part < parts; part++)
        sum += load_floats(partial + (size_t)part * C + c, C - c);
    store_floats(total + c, load_floats(total + c, C - c) + sum, C - c);
}
