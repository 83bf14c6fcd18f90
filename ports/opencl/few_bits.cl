// Formats of few bits, as src/few_bits.h has them: the same bits as every other backend's. A group takes a row.
enum { NONE, INT8, INT8_TENSOR, INT4, INT4_TENSOR, E4M3, E4M3_SAT, E5M2, E5M2_SAT, FP16, BF16 };

// |x| as bits, which order as sizes do, with infinity and then NaN at the end
upack size_bits(pack x) { return bits_of(x) & 0x7fffffff; }

// largest[r] = the bits of the largest |x[r,c]|
kernel void largest_of_rows(OUT(uint, largest), IN(real, x), int C) {
    local uint shared[GROUP];
    largest += largest_at, x += x_at;
    const size_t r = get_group_id(0);
    upack most = 0;
    for (int c = FIRST; c < C; c += STRIDE) most = max(most, size_bits(load(x + r * C + c, C - c)));
    const uint all = group_largest(largest_of(most), shared);
    if (get_local_id(0) == 0) largest[r] = all;
}

// largest[R] = of all, by one group
kernel void largest_of_all(OUT(uint, largest), int R) {
    local uint shared[GROUP];
    largest += largest_at;
    uint most = 0;
    for (int r = get_local_id(0); r < R; r += GROUP) most = max(most, largest[r]);
    const uint all = group_largest(most, shared);
    if (get_local_id(0) == 0) largest[R] = all;
}

// s, from the bits of the largest |x|
float step_of(uint largest, int levels) {
    const float s = as_float(largest) / levels;
    return s < 0x1p-126f ? 0 : s;
}

// q s. What is added and taken off again leaves no bit below 1.
pack in_steps(pack x, float s) {
    const pack q = x / s + 0x1.8p23f;
    return s == 0 ? (pack)0 : (q - 0x1.8p23f) * s;
}

// To a float of so many bits of mantissa, whose least exponent is the one given.
pack to_small_float(pack x, int mantissa, int least_exponent, float largest, float beyond) {
    const upack size = size_bits(x);
    const ipack exponent = PACK(as_int)(size >> 23) - 127;
    const ipack below = max(least_exponent - exponent, 0);  // subnormal
    // of 1.m, as a whole number
    const upack dropped = PACK(as_uint)(select((ipack)25, 23 - mantissa + below, below < 2 + mantissa));
    const upack significand = (size & 0x7fffff) | 0x800000;
    const upack kept =
        (significand + ((upack)1 << (dropped - 1)) - 1 + (significand >> dropped & 1)) >> dropped;
    const ipack unit = select(exponent, (ipack)least_exponent, below > 0) - mantissa;
    const pack nearest = PACK(convert_float)(kept) * number_of(PACK(as_uint)(unit + 127) << 23);
    const pack y = select(select((pack)beyond, nearest, nearest <= largest), x, size > 0x7f800000);
    return number_of(size_bits(y) | (bits_of(x) & 0x80000000));
}

// The storage's own types are as real.h rounds to them, whatever the file is compiled for.
pack to_fp16(pack y) {
    const upack x = bits_of(y), size = x & 0x7fffffff;
    const pack small = number_of(size) + 0.5f - 0.5f;
    const upack normal = (size + 0xfff + (size >> 13 & 1)) & ~0x1fffu;
    const upack beyond = select((upack)0x7f800000, 0x7fc00000 | (size & ~0x1fffu), size > 0x7f800000);
    const upack large = select(beyond, normal, size < 0x477ff000);
    return number_of((x & 0x80000000) | select(large, bits_of(small), size < 0x38800000));
}

pack to_bf16(pack y) {
    const upack x = bits_of(y), even = (x + 0x7fff + (x >> 16 & 1)) & 0xffff0000;
    return number_of(select(even, (x & 0xffff0000) | 0x400000, (x & 0x7fffffff) > 0x7f800000));
}

pack rounded(pack x, int format, float s) {
    switch (format) {
        case INT8:
        case INT8_TENSOR:
        case INT4:
        case INT4_TENSOR:
            return in_steps(x, s);
        case E4M3:
            return to_small_float(x, 3, -6, 448, NAN);
        case E4M3_SAT:
            return to_small_float(x, 3, -6, 448, 448);
        case E5M2:
            return to_small_float(x, 2, -14, 57344, INFINITY);
        case E5M2_SAT:
            return to_small_float(x, 2, -14, 57344, 57344);
        case FP16:
            return to_fp16(x);
        case BF16:
            return to_bf16(x);
    }
    return x;
}

kernel void quantise(OUT(real, y), IN(real, x), IN(uint, largest), int R, int C, int format,
                     int levels, int one_step) {
    y += y_at, x += x_at, largest += largest_at;
    const size_t r = get_group_id(0);
    const float s = levels ? step_of(largest[one_step ? R : r], levels) : 0;
    for (int c = FIRST; c < C; c += STRIDE)
        store(y + r * C + c, rounded(load(x + r * C + c, C - c), format, s), C - c);
}
