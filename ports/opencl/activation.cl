pack sigmoid(pack x) { return 1 / (1 + exp(-x)); }

// h = silu(gate) up,   silu(g) = g sigma(g),   sigma(g) = 1 / (1 + exp(-g))
kernel void swiglu_forward(OUT(real, h), IN(real, gate), IN(real, up), ulong n) {
    h += h_at, gate += gate_at, up += up_at;
    const size_t i = first_entry();
    if (i >= n) return;
    const pack g = load(gate + i, n - i);
    store(h + i, g * sigmoid(g) * load(up + i, n - i), n - i);
}

// dup = dh silu(g),   dgate = dh up silu'(g),   silu'(g) = sigma(g) (1 + g (1 - sigma(g)))
kernel void swiglu_backward(OUT(real, dgate), OUT(real, dup), IN(real, dh), IN(real, gate),
                            IN(real, up), ulong n) {
    dgate += dgate_at, dup += dup_at, dh += dh_at, gate += gate_at, up += up_at;
    const size_t i = first_entry();
    if (i >= n) return;
    const pack g = load(gate + i, n - i), u = load(up + i, n - i), d = load(dh + i, n - i);
    const pack s = sigmoid(g);
    store(dgate + i, d * u * s * (1 + g * (1 - s)), n - i);
    store(dup + i, d * g * s, n - i);
}

kernel void relu_forward(OUT(real, h), IN(real, x), ulong n) {
    h += h_at, x += x_at;
    const size_t i = first_entry();
    if (i >= n) return;
    const pack a = load(x + i, n - i);
    store(h + i, select(a, (pack)0, a < 0), n - i);  // so that NaN stays NaN
}

kernel void relu_backward(OUT(real, dx), IN(real, dh), IN(real, x), ulong n) {
    dx += dx_at, dh += dh_at, x += x_at;
    const size_t i = first_entry();
    if (i >= n) return;
    store(dx + i, select((pack)0, load(dh + i, n - i), load(x + i, n - i) > 0), n - i);
}
