#!/usr/bin/env bash
# Does bf16 train as fp32 does? Loss curves of Peri-LN in both, three seeds each, the same batches:
# experiments/precision.csv (training loss, mean of 20 steps), precision.svg, and the final validation
# losses as text.
#
# Time: 6 runs of 300 steps; about 15 minutes on two cores. Needs dict-gcide (make deps); the figure
# needs gnuplot.
set -eu
cd "$(dirname "$0")/.."

seeds="1 2 3"
steps=300 rate=2e-3 window=20
jobs=$(nproc)  # runs at a time, each on one thread
train=${TRAIN:-./train}
runs=${RUNS:-runs/precision}
csv=experiments/precision.csv

one_run() {
    local precision=$1 seed=$2 out=$runs/$1-$2
    [ -s "$out/log" ] && grep -q "^final val loss" "$out/log" && return
    rm -rf "$out"
    mkdir -p "$out"
    "$train" --norm peri --precision "$precision" --lr "$rate" --seed "$seed" --size small \
        --batch 16 --seq 128 --steps $steps --data "$text" --val-batches 16 --val-every 0 \
        --save-every 0 --threads 1 --quiet --out "$out" > "$out/log" 2>&1 || { cat "$out/log"; return 1; }
}

[ -x "$train" ] || { echo "no $train: run make first" >&2; exit 2; }
mkdir -p "$runs"
text=$runs/gcide.txt
[ -s "$text" ] || zcat /usr/share/dictd/gcide.dict.dz > "$text"
export -f one_run
export steps rate train runs text
for seed in $seeds; do
    for precision in bf16 fp32; do echo "$precision $seed"; done
done | xargs -P "$jobs" -L 1 bash -c 'one_run "$0" "$1"'

echo "precision,seed,step,loss" > $csv
for precision in fp32 bf16; do
    for seed in $seeds; do
        awk -F, -v p=$precision -v s="$seed" -v w=$window 'NR > 1 {
            sum += $3
            if ($1 % w == 0) { print p "," s "," $1 "," sum / w; sum = 0 } }' \
            "$runs/$precision-$seed/metrics.csv" >> $csv
    done
    echo "$precision: final validation loss$(for seed in $seeds; do
        sed -n 's/^final val loss//p' "$runs/$precision-$seed/log"; done | tr '\n' ' ')"
done
# the largest distance of the two mean curves, and the largest spread of one precision's seeds
awk -F, 'NR > 1 { k = $1 "," $3; sum[k] += $4; n[k]++; at[$3]
                  if (!(k in low) || $4 < low[k]) low[k] = $4
                  if (!(k in high) || $4 > high[k]) high[k] = $4 }
    END { for (s in at) { a = "fp32," s; b = "bf16," s
              d = sum[a] / n[a] - sum[b] / n[b]; if (d < 0) d = -d
              if (d > high[a] - low[a]) outside++
              if (d > most) most = d
              if (high[a] - low[a] > spread) spread = high[a] - low[a] }
          printf "mean curves differ by at most %.4f; the fp32 seeds by up to %.4f; ", most, spread
          printf "points where the means differ by more than the fp32 seeds do: %d\n", outside }' $csv

command -v gnuplot > /dev/null || { echo "skipped: precision.svg (no gnuplot)"; exit 0; }
gnuplot << 'PLOT'
set terminal svg size 640,400 font "sans,12" background "white"
set output "experiments/precision.svg"
set datafile separator ","
set title "Peri-LN, small, 300 steps of 16 x 128 bytes of dict-gcide, rate 2e-3, seeds 1 to 3\n./experiments/precision.sh"
set xlabel "step"
set ylabel "training loss (nats a byte, mean of 20 steps)"
csv = "experiments/precision.csv"
pick(p, s) = sprintf("< awk -F, '$1 == \"%s\" && $2 == %d' %s", p, s, csv)
plot for [s = 1:3] pick("fp32", s) using 3:4 with lines lc rgb "#377eb8" lw 2 \
         title (s == 1 ? "fp32" : ""), \
     for [s = 1:3] pick("bf16", s) using 3:4 with lines lc rgb "#e41a1c" dt 2 \
         title (s == 1 ? "bf16" : "")
PLOT
