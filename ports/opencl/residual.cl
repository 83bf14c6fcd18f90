// y = alpha x + a
kernel void residual_add(OUT(real, y), IN(real, x), IN(real, a), float alpha, ulong n) {
    y += y_at, x += x_at, a += a_at;
    const size_t i = first_entry();
    if (i < n) store(y + i, alpha * load(x + i, n - i) + load(a + i, n - i), n - i);
}
