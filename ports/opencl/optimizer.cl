// sums[b] = sum of g[i]^2 over block b: a group takes a block
kernel void sum_of_squares(OUT(double, sums), IN(float, g), ulong n, ulong block) {
    local double shared[GROUP];
    sums += sums_at, g += g_at;
    const size_t begin = get_group_id(0) * block, end = min(begin + block, (size_t)n);
    double sum = 0;
    for (size_t i = begin + get_local_id(0); i < end; i += GROUP) sum += (double)g[i] * (double)g[i];
    sum = group_sum_double(sum, shared);
    if (get_local_id(0) == 0) sums[get_group_id(0)] = sum;
}

// as src/loss_scale.h has it
void move_on(global LossScale* s, bool finite) {
    s->skipped += !finite;
    if (s->grows_after == 0) return;
    s->good = finite ? s->good + 1 : 0;
    if (!finite && s->scale > 0x1p-60f) s->scale /= 2;
    if (s->good < s->grows_after) return;
    s->good = 0;
    if (s->scale < 0x1p60f) s->scale *= 2;
}

// *norm = sqrt(sum_b sums[b]) / loss_scale->scale,   *scale = min(1, max_norm / *norm) / loss_scale->scale; one group
kernel void clip_scale(OUT(double, norm), OUT(float, scale), OUT(LossScale, loss_scale),
                       IN(double, sums), ulong blocks, double max_norm) {
    local double shared[GROUP];
    norm += norm_at, scale += scale_at, loss_scale += loss_scale_at, sums += sums_at;
    double sum = 0;
    for (size_t b = get_local_id(0); b < blocks; b += GROUP) sum += sums[b];
    sum = group_sum_double(sum, shared);
    if (get_local_id(0) > 0) return;
    const double unscale = loss_scale ? 1.0 / loss_scale->scale : 1;
    *norm = sqrt(sum) * unscale;
    const bool good = isfinite(*norm);
    const double clip = max_norm > 0 && *norm > max_norm ? max_norm / *norm : 1;
    *scale = good ? (float)(clip * unscale) : loss_scale ? 0 : NAN;
    if (loss_scale) move_on(loss_scale, good);
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
