// A group takes a query (forward, dq) or a key (dk, dv) and meets the others GROUP at a time, a work-item each; then a
// work-item takes entries of the head. Sums have one writer and a fixed order.

typedef struct {
    int B, Tq, Tk, first, H, KV, D;
} AttentionShape;

// Entry (b,t,h) of a (B,T,H,D) array, and entry (b,h,t) of a (B,H,T) one.
size_t at(int b, int t, int h, int T, int H, int D) { return (((size_t)b * T + t) * H + h) * D; }
size_t entry_at(int b, int h, int t, AttentionShape s) { return ((size_t)b * s.H + h) * s.Tq + t; }

// The query that is number `row` of (b,h,t).
typedef struct {
    int b, h, t, kv;
} Query;
Query query_of(size_t row, AttentionShape s) {
    const int t = row % s.Tq, h = row / s.Tq % s.H;
    const Query query = {row / s.Tq / s.H, h, t, h / (s.H / s.KV)};
    return query;
}

// The first key that it sees; the last is first + t.
int first_seen(int b, int t, global const int* document, AttentionShape s) {
    return document ? document[(size_t)b * s.Tq + t] : 0;
}

// x . y, x in local memory, in whole packs
float dot_of(local const float* x, global const real* y, int D) {
    pack sum = 0;
    for (int d = 0; d < D; d += WIDE) sum += load_local(x + d) * load(y + d, D - d);
    return sum_of(sum);
}

// sums[d ..] = sums[d ..] shrink + sum_i p[i] x[i,d ..], the rows of x being `stride` apart
void add_rows(local float* sums, float shrink, local const float* p, global const real* x,
              int stride, int rows, int D) {
    for (int d = FIRST; d < D; d += STRIDE) {
        pack added = 0;
        for (size_t i = 0; i < rows; i++) added += p[i] * load(x + i * stride + d, D - d);
        store_local(sums + d, load_local(sums + d) * shrink + added);
    }
}

// y = x, a head's numbers; y = 0
void fill(local float* y, global const real* x, int D) {
    for (int d = FIRST; d < D; d += STRIDE) store_local(y + d, load(x + d, D - d));
}
void clear(local float* y, int D) {
    for (int d = FIRST; d < D; d += STRIDE) store_local(y + d, 0);
}

// s_j = q . k_j / sqrt(D),   p = softmax(s),   out = sum_j p_j v_j,   lse = log sum_j exp s_j,
// the sums relative to the largest score so far
kernel void attention_forward(OUT(real, out), OUT(float, lse), IN(real, q), IN(real, k),
                              IN(real, v), IN(int, document), AttentionShape s, local float* query,
                              local float* sum_pv) {
    local float p[GROUP], shared[GROUP];
    const size_t row = get_group_id(0);  // (b, h, t)
    const int lane = get_local_id(0), D = s.D;
    const Query i = query_of(row, s);
    out += out_at, lse += lse_at, q += q_at, k += k_at, v += v_at, document += document_at;
    const size_t mine = at(i.b, i.t, i.h, s.Tq, s.H, D);
    const int begin = first_seen(i.b, i.t, document, s), end = s.first + i.t + 1;
    const float scale = 1 / sqrt((float)D);
    fill(query, q + mine, D);
    clear(sum_pv, D);
    barrier(CLK_LOCAL_MEM_FENCE);

    float most = -INFINITY, sum = 0;  // the largest score, the sum of exp(score - most)
    for (int j0 = begin; j0 < end; j0 += GROUP) {
        const int j = j0 + lane;
        const float score =
            j < end ? scale * dot_of(query, k + at(i.b, j, i.kv, s.Tk, s.KV, D), D) : -INFINITY;
        const float now = larger(most, group_max(score, shared)), shrink = exp(most - now);
        const float mine_p = j < end ? exp(score - now) : 0;
        p[lane] = mine_p;
        sum = sum * shrink + group_sum(mine_p, shared);
        most = now;
        add_rows(sum_pv, shrink, p, v + at(i.b, j0, i.kv, s.Tk, s.KV, D), s.KV * D,
                 min(GROUP, end - j0), D);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int d = FIRST; d < D; d += STRIDE)
        store(out + mine + d, load_local(sum_pv + d) / sum, D - d);
    if (lane == 0) lse[row] = most + log(sum);
}

// delta_i = dout_i . out_i: a work-item takes a query
kernel void attention_delta(OUT(float, delta), IN(real, dout), IN(real, out), AttentionShape s) {
    delta += delta_at, dout += dout_at, out += out_at;
    const size_t row = get_global_id(0);  // (b, h, t)
    if (row >= (size_t)s.B * s.H * s.Tq) return;
    const Query i = query_of(row, s);
    const size_t query = at(i.b, i.t, i.h, s.Tq, s.H, s.D);
    pack sum = 0;
    for (int d = 0; d < s.D; d += WIDE)
        sum += load(dout + query + d, s.D - d) * load(out + query + d, s.D - d);
    delta[row] = sum_of(sum);
}

// With p recomputed from lse:
//   ds_ij = p_ij (dout_i . v_j - delta_i) / sqrt(D),   dq_i = sum_j ds_ij k_j
kernel void attention_dq(OUT(real, dq), IN(real, dout), IN(real, q), IN(real, k), IN(real, v),
                         IN(float, lse), IN(float, delta), IN(int, document), AttentionShape s,
                         local float* query, local float* d_out, local float* sum_dsk) {
    local float ds[GROUP];
    const size_t row = get_group_id(0);  // (b, h, t)
    const int lane = get_local_id(0), D = s.D;
    const Query i = query_of(row, s);
    dq += dq_at, dout += dout_at, q += q_at, k += k_at, v += v_at, lse += lse_at;
    delta += delta_at, document += document_at;
    const size_t mine = at(i.b, i.t, i.h, s.Tq, s.H, D);
    const int begin = first_seen(i.b, i.t, document, s), end = s.first + i.t + 1;
    const float scale = 1 / sqrt((float)D);
    fill(query, q + mine, D);
    fill(d_out, dout + mine, D);
    clear(sum_dsk, D);

    for (int j0 = begin; j0 < end; j0 += GROUP) {
        const int j = j0 + lane;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (j < end) {
            const size_t key = at(i.b, j, i.kv, s.Tk, s.KV, D);
            const float p = exp(scale * dot_of(query, k + key, D) - lse[row]);
            ds[lane] = scale * p * (dot_of(d_out, v + key, D) - delta[row]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        add_rows(sum_dsk, 1, ds, k + at(i.b, j0, i.kv, s.Tk, s.KV, D), s.KV * D,
                 min(GROUP, end - j0), D);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int d = FIRST; d < D; d += STRIDE) store(dq + mine + d, load_local(sum_dsk + d), D - d);
}

// dv_j = sum_i p_ij dout_i,   dk_j = sum_i ds_ij q_i, over the queries of all heads that read key j
kernel void attention_dkv(OUT(real, dk), OUT(real, dv), IN(real, dout), IN(real, q), IN(real, k),
                          IN(real, v), IN(float, lse), IN(float, delta), IN(int, document),
                          AttentionShape s, local float* key, local float* value,
                          local float* sum_dk, local float* sum_dv) {
    local float p[GROUP], ds[GROUP];
    const size_t row = get_group_id(0);  // (b, j, kv), as the keys lie
    const int lane = get_local_id(0), D = s.D, heads = s.H / s.KV;
    const int kv = row % s.KV, j = row / s.KV % s.Tk, b = row / s.KV / s.Tk;
    dk += dk_at, dv += dv_at, dout += dout_at, q += q_at, k += k_at, v += v_at, lse += lse_at;
    delta += delta_at, document += document_at;
    const float scale = 1 / sqrt((float)D);
    fill(key, k + row * D, D);
    fill(value, v + row * D, D);
    clear(sum_dk, D);
    clear(sum_dv, D);

    const int first_query = j > s.first ? j - s.first : 0;
    for (int h = kv * heads; h < (kv + 1) * heads; h++)
        for (int t0 = first_query; t0 < s.Tq; t0 += GROUP) {
            const int t = t0 + lane;
            barrier(CLK_LOCAL_MEM_FENCE);
            p[lane] = ds[lane] = 0;
            if (t < s.Tq && first_seen(b, t, document, s) <= j) {
                const size_t query = at(b, t, h, s.Tq, s.H, D), entry = entry_at(b, h, t, s);
                p[lane] = exp(scale * dot_of(key, q + query, D) - lse[entry]);
                ds[lane] = scale * p[lane] * (dot_of(value, dout + query, D) - delta[entry]);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            const size_t queries = at(b, t0, h, s.Tq, s.H, D);
            const int rows = min(GROUP, s.Tq - t0);
            add_rows(sum_dv, 1, p, dout + queries, s.H * D, rows, D);
            add_rows(sum_dk, 1, ds, q + queries, s.H * D, rows, D);
        }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int d = FIRST; d < D; d += STRIDE) {
        store(dk + row * D + d, load_local(sum_dk + d), D - d);
        store(dv + row * D + d, load_local(sum_dv + d), D - d);
    }
}
