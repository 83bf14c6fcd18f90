# experiments/placements.csv as a Markdown table: validation loss as mean and range over the seeds, the
# variance of the hidden state as the median over the seeds.
BEGIN { FS = "," }
NR > 1 {
    key = $1 SUBSEP $2
    if (!($1 in seen)) { seen[$1] = 1; order[++count] = $1 }
    if (!($2 in rate)) { rate[$2] = 1; rates[++rate_count] = $2 }
    if ($4 == 1) { diverged[key]++; next }
    n[key]++
    loss[key, n[key]] = $5
    for (i = 6; i <= 11; i++) value[key, i, n[key]] = $i
}
function sorted(key, i, k,    a, j, t) {
    for (j = 1; j <= n[key]; j++) pick[j] = i ? value[key, i, j] : loss[key, j]
    for (j = 1; j <= n[key]; j++)
        for (t = j + 1; t <= n[key]; t++)
            if (pick[t] + 0 < pick[j] + 0) { a = pick[j]; pick[j] = pick[t]; pick[t] = a }
    return pick[k]
}
function median(key, i) { return (sorted(key, i, int((n[key] + 1) / 2)) + sorted(key, i, int(n[key] / 2) + 1)) / 2 }
function short(v) { return v >= 10 ? sprintf("%.0f", v) : sprintf("%.2g", v) }
function cell(key,    j, sum) {
    if (!n[key]) return (diverged[key] ? "all diverged" : "not run") " | | "
    for (j = 1; j <= n[key]; j++) sum += loss[key, j]
    return sprintf("%.3f (%.3f to %.3f, n = %d)%s | %s / %s / %s | %s / %s / %s", sum / n[key],
                   sorted(key, 0, 1), sorted(key, 0, n[key]), n[key],
                   diverged[key] ? ", " diverged[key] " diverged" : "",
                   short(median(key, 6)), short(median(key, 7)), short(median(key, 8)),
                   short(median(key, 9)), short(median(key, 10)), short(median(key, 11)))
}
END {
    print "| placement | learning rate | validation loss: mean (range, seeds) | variance at the start | variance after training |"
    print "|---|---|---|---|---|"
    for (p = 1; p <= count; p++)
        for (r = 1; r <= rate_count; r++)
            print "| `" order[p] "` | " rates[r] " | " cell(order[p] SUBSEP rates[r]) " |"
}
