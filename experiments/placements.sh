#!/usr/bin/env bash
# All ten placements on real text at two learning rates and three seeds: validation loss, and the
# hidden state's variance at initialisation and after training.
#
# Every finished run is a row of experiments/placements.csv and is not repeated: the script can be
# stopped and started again (to run all of it anew, remove that file first). At its end it writes the
# table, experiments/placements.md, and puts it into docs/results.md.
#
# Time: 60 runs of 300 steps; one to two hours on two cores. Needs dict-gcide (make deps).
set -eu
cd "$(dirname "$0")/.."

placements="post pre peri output input-main olmo2 keel simple mix deep"
rates="2e-3 8e-3"
seeds="1 2 3"
steps=300
jobs=$(nproc)  # runs at a time, each on one thread
train=${TRAIN:-./train}
runs=${RUNS:-runs/placements}
csv=experiments/placements.csv

# A row: how the run ended, and the hidden state's variance after the first, middle and last
# sub-layer, at initialisation and after training.
record() {
    local placement=$1 rate=$2 seed=$3 out=$4 diverged=$5 variance=",,,,,"
    [ "$diverged" = 1 ] || variance=$(awk -F, '
        { start[NR - 2] = $2; end[NR - 2] = $3 }
        END { S = NR - 2; m = int(S / 2)
              print start[1] "," start[m] "," start[S] "," end[1] "," end[m] "," end[S] }' \
        "$out/hidden_variance.csv")
    echo "$placement,$rate,$seed,$diverged,$(sed -n 's/^final val loss //p' "$out/log"),$variance" >> $csv
}

one_run() {
    local placement=$1 rate=$2 seed=$3 out=$runs/$1-$2-$3 diverged=0
    grep -q "^$placement,$rate,$seed," $csv && return
    rm -rf "$out"
    mkdir -p "$out"
    "$train" --norm "$placement" --lr "$rate" --seed "$seed" --size small --batch 16 --seq 128 \
        --steps $steps --data "$text" --val-batches 16 --val-every 0 --save-every 0 --threads 1 --quiet \
        --out "$out" > "$out/log" 2>&1 || { [ $? = 3 ] && diverged=1; } ||
        { cat "$out/log"; return 1; }
    record "$placement" "$rate" "$seed" "$out" $diverged
    echo "$placement $rate $seed: $(tail -n 1 "$out/log")"
}

[ -x "$train" ] || { echo "no $train: run make first" >&2; exit 2; }
mkdir -p "$runs"
text=$runs/gcide.txt
[ -s "$text" ] || zcat /usr/share/dictd/gcide.dict.dz > "$text"
[ -s $csv ] || echo "placement,lr,seed,diverged,val_loss,first_start,middle_start,last_start,first_end,middle_end,last_end" > $csv
export -f one_run record
export steps train runs text csv

for seed in $seeds; do
    for rate in $rates; do
        for placement in $placements; do echo "$placement $rate $seed"; done
    done
done | xargs -P "$jobs" -L 1 bash -c 'one_run "$0" "$1" "$2"'

awk -f experiments/placements.awk $csv > experiments/placements.md
sed -i -e '/<!-- placements -->/,/<!-- end -->/{//!d}' \
    -e '/<!-- placements -->/r experiments/placements.md' docs/results.md  # its table
cat experiments/placements.md
