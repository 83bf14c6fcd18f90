#!/usr/bin/env bash
# All ten placements on real text at two learning rates and three seeds: validation loss, and the
# hidden state's variance at initialisation and after training. Finished runs are not repeated, so the
# script can be stopped and started again; its table goes to experiments/placements.csv and .md.
#
# Time: 60 runs of 300 steps; about 70 minutes on two cores. Needs dict-gcide (make deps).
set -eu
cd "$(dirname "$0")/.."

placements="post pre peri output input-main olmo2 keel simple mix deep"
rates="2e-3 8e-3"
seeds="1 2 3"
steps=300
jobs=$(nproc)  # runs at a time, each on one thread
train=${TRAIN:-./train}
runs=${RUNS:-runs/placements}

mkdir -p "$runs"
text=$runs/gcide.txt
[ -s "$text" ] || zcat /usr/share/dictd/gcide.dict.dz > "$text"

one_run() {
    local placement=$1 rate=$2 seed=$3 out=$runs/$1-$2-$3
    [ -e "$out/done" ] && return
    rm -rf "$out"
    mkdir -p "$out"
    "$train" --norm "$placement" --lr "$rate" --seed "$seed" --size small --batch 16 --seq 128 \
        --steps $steps --data "$text" --val-batches 16 --val-every 0 --threads 1 --quiet \
        --out "$out" > "$out/log" 2>&1 && code=0 || code=$?
    # 3: diverged, which is a result
    case $code in 0 | 3) echo $code > "$out/done" ;; *) cat "$out/log"; return 1 ;; esac
    echo "$out $(tail -n 1 "$out/log")"
}
export -f one_run
export steps train runs text

for seed in $seeds; do
    for rate in $rates; do
        for placement in $placements; do echo "$placement $rate $seed"; done
    done
done | xargs -P "$jobs" -L 1 bash -c 'one_run "$0" "$1" "$2"'

# One line a run: what it ended with, and the hidden state's variance after the first, middle and last
# sub-layer, at initialisation and after training.
csv=experiments/placements.csv
echo "placement,lr,seed,diverged,val_loss,first_start,middle_start,last_start,first_end,middle_end,last_end" > $csv
for placement in $placements; do
    for rate in $rates; do
        for seed in $seeds; do
            out=$runs/$placement-$rate-$seed
            loss=$(sed -n 's/^final val loss //p' "$out/log")
            diverged=$([ "$(cat "$out/done")" = 0 ] && echo 0 || echo 1)
            variance=",,,,,"
            [ $diverged = 1 ] || variance=$(awk -F, '
                { start[NR - 2] = $2; end[NR - 2] = $3 }
                END { S = NR - 2; m = int(S / 2)
                      print start[1] "," start[m] "," start[S] "," end[1] "," end[m] "," end[S] }' \
                "$out/hidden_variance.csv")
            echo "$placement,$rate,$seed,$diverged,$loss,$variance" >> $csv
        done
    done
done
awk -f experiments/placements.awk $csv > experiments/placements.md
cat experiments/placements.md
