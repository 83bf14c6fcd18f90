// Of a row of logits z, where dz may lie:
//   dz = (p_factor p - onehot(target)) scale,   p_factor = 1 + 2 z_loss log Z
// The row's loss is
//   -log p[target] = log Z - z_target,   log Z = log sum_v exp(z_v - max) + max
// A group takes a row.
kernel void softmax_cross_entropy(OUT(float, row_loss), OUT(real, dz), IN(float, z),
                                  IN(int, targets), IN(LossScale, loss_scale), int V, float share,
                                  float z_loss) {
    local float shared[GROUP];
    const size_t r = get_group_id(0);
    row_loss += row_loss_at, targets += targets_at, loss_scale += loss_scale_at;
    dz += dz_at + r * V, z += z_at + r * V;
    const int target = targets[r];
    const float scale = loss_scale ? loss_scale->scale * share : share;
    float most = -INFINITY;
    for (int v = FIRST; v < V; v += STRIDE)
        most = larger(most, max_of(there(load_floats(z + v, V - v), V - v, -INFINITY)));
    most = group_max(most, shared);
    pack exps = 0;
    for (int v = FIRST; v < V; v += STRIDE)
        exps += there(exp(load_floats(z + v, V - v) - most), V - v, 0);
    const float sum = group_sum(sum_of(exps), shared);
    const float at_target = target < 0 ? 0 : z[target];
    const float p_factor = 1 + 2 * z_loss * (log(sum) + most);
    barrier(CLK_GLOBAL_MEM_FENCE);  // dz may lie where the target's z was
    for (int v = FIRST; v < V; v += STRIDE) {
        const pack p = exp(load_floats(z + v, V - v) - most) / sum;
        const pack d = (p_factor * p - one_at(target - v)) * scale;
        store(dz + v, target < 0 ? (pack)0 : d, V - v);
    }
    if (get_local_id(0) == 0)
        row_loss[r] = target < 0 ? 0 : log(sum) + (most - at_target);
}
