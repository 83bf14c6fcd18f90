// Before every file of kernels: types of storage, packs of neighbouring numbers, sums over a group.
//
// STORAGE_float, STORAGE_bf16 or STORAGE_fp16: what `real` is. GROUP: work-items of a group. WIDE: numbers that one of
// them takes at once.

// An array is an argument as its buffer and the place where it begins, since buffers of OpenCL cannot begin just
// anywhere within others: kernels begin by adding the one to the other.
#define IN(type, x) global const type *x, ulong x##_at
#define OUT(type, x) global type *x, ulong x##_at

#define JOIN(a, b) a##b
#define WITH(a, b) JOIN(a, b)
#if WIDE == 1
#define PACK(name) name
#else
#define PACK(name) WITH(name, WIDE)
#endif
typedef PACK(float) pack;
typedef PACK(uint) upack;
typedef PACK(int) ipack;

// ---- one number's bits, for each of a pack ------------------------------------------------------

#define bits_of PACK(as_uint)
#define number_of PACK(as_float)

// as src/real.h has them
#if defined(STORAGE_bf16)
typedef ushort real;
pack widened(upack x) { return number_of(x << 16); }
upack narrowed(pack y) {
    const upack x = bits_of(y), even = (x + 0x7fff + (x >> 16 & 1)) >> 16;
    return select(even, x >> 16 | 0x40, (x & 0x7fffffff) > 0x7f800000);  // NaN
}
#elif defined(STORAGE_fp16)
typedef ushort real;
pack widened(upack x) {
    const upack sign = (x & 0x8000) << 16, rest = (x & 0x7fff) << 13;
    const pack small = number_of(rest + (113u << 23)) - 0x1p-14f;
    const upack beyond = rest | select((upack)0x7f800000, (upack)0x7fc00000, rest > 31u << 23);
    const upack large = select(beyond, rest + (112u << 23), rest < 31u << 23);
    return number_of(sign | select(large, bits_of(small), rest < 1u << 23));
}
upack narrowed(pack y) {
    const upack x = bits_of(y), size = x & 0x7fffffff;
    const upack small = bits_of(number_of(size) + 0.5f) - 0x3f000000;
    const upack normal = (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13;
    const upack beyond =
        select((upack)0x7c00, 0x7e00 | (size >> 13 & 0x3ff), size > 0x7f800000);
    const upack large = select(beyond, normal, size < 0x477ff000);
    return (x >> 16 & 0x8000) | select(large, small, size < 0x38800000);
}
#else
typedef float real;
#endif

// src/loss_scale.h
typedef struct {
    float scale;
    int grows_after, good, skipped;
} LossScale;

// ---- packs --------------------------------------------------------------------------------------

// x[0 .. WIDE - 1], of which n are there; the others are 0
pack load_floats(global const float* x, long n) {
#if WIDE == 1
    return *x;
#else
    if (n >= WIDE) return PACK(vload)(0, x);
    float some[WIDE];
    for (int k = 0; k < WIDE; k++) some[k] = k < n ? x[k] : 0;
    return PACK(vload)(0, some);
#endif
}

void store_floats(global float* y, pack numbers, long n) {
#if WIDE == 1
    *y = numbers;
#else
    if (n >= WIDE) {
        PACK(vstore)(numbers, 0, y);
        return;
    }
    float some[WIDE];
    PACK(vstore)(numbers, 0, some);
    for (int k = 0; k < n; k++) y[k] = some[k];
#endif
}

#ifdef STORAGE_float
#define load load_floats
#define store store_floats
#else
pack load(global const real* x, long n) {
#if WIDE == 1
    return widened(*x);
#else
    if (n >= WIDE) return widened(PACK(convert_uint)(PACK(vload)(0, x)));
    uint some[WIDE];
    for (int k = 0; k < WIDE; k++) some[k] = k < n ? x[k] : 0;
    return widened(PACK(vload)(0, some));
#endif
}

void store(global real* y, pack numbers, long n) {
    const upack narrow = narrowed(numbers);
#if WIDE == 1
    *y = narrow;
#else
    if (n >= WIDE) {
        PACK(vstore)(PACK(convert_ushort)(narrow), 0, y);
        return;
    }
    uint some[WIDE];
    PACK(vstore)(narrow, 0, some);
    for (int k = 0; k < n; k++) y[k] = some[k];
#endif
}
#endif

// a group's memory, in which packs are whole
pack load_local(local const float* x) {
#if WIDE == 1
    return *x;
#else
    return PACK(vload)(0, x);
#endif
}

void store_local(local float* y, pack numbers) {
#if WIDE == 1
    *y = numbers;
#else
    PACK(vstore)(numbers, 0, y);
#endif
}

// x, but something else in the places that are not there
pack there(pack x, long n, float otherwise) {
#if WIDE == 1
    return x;
#else
    return select((pack)otherwise, x, (ipack)(0, 1, 2, 3, 4, 5, 6, 7) < (int)min(n, (long)WIDE));
#endif
}

// 1 in one place, where that is in the pack, and 0 elsewhere
pack one_at(int place) {
#if WIDE == 1
    return place == 0;
#else
    return select((pack)0, (pack)1, (ipack)(0, 1, 2, 3, 4, 5, 6, 7) == place);
#endif
}

float larger(float a, float b) { return b <= a ? a : b; }  // NaN if b is

float max_of(pack x) {
#if WIDE == 1
    return x;
#else
    return larger(larger(larger(x.s0, x.s1), larger(x.s2, x.s3)),
                  larger(larger(x.s4, x.s5), larger(x.s6, x.s7)));
#endif
}

float sum_of(pack x) {
#if WIDE == 1
    return x;
#else
    return ((x.s0 + x.s1) + (x.s2 + x.s3)) + ((x.s4 + x.s5) + (x.s6 + x.s7));
#endif
}

uint largest_of(upack x) {
#if WIDE == 1
    return x;
#else
    const uint4 four = max(x.lo, x.hi);
    const uint2 two = max(four.lo, four.hi);
    return max(two.x, two.y);
#endif
}

// The first number of a work-item that takes WIDE of n.
size_t first_entry() { return get_global_id(0) * WIDE; }

// Where a work-item begins in a row that a group takes, and how far on it goes.
#define FIRST (WIDE * (int)get_local_id(0))
#define STRIDE (WIDE * GROUP)

// ---- sums over a group --------------------------------------------------------------------------

// Every work-item gets the sum, or the largest, of all of the group, in one order. shared: GROUP numbers.
#define OVER_GROUP(type, name, both)                                     \
    type name(type value, local type* shared) {                          \
        const int i = get_local_id(0);                                   \
        barrier(CLK_LOCAL_MEM_FENCE);                                    \
        shared[i] = value;                                               \
        barrier(CLK_LOCAL_MEM_FENCE);                                    \
        for (int distance = GROUP / 2; distance > 0; distance /= 2) {    \
            if (i < distance) {                                          \
                const type a = shared[i], b = shared[i + distance];      \
                shared[i] = both;                                        \
            }                                                            \
            barrier(CLK_LOCAL_MEM_FENCE);                                \
        }                                                                \
        return shared[0];                                                \
    }
OVER_GROUP(float, group_sum, a + b)
OVER_GROUP(float, group_max, larger(a, b))
OVER_GROUP(uint, group_largest, max(a, b))
OVER_GROUP(ulong, group_sum_whole, a + b)
