#!/usr/bin/env bash
# Trains `tiny` on the simulated GPU beside the oracle, five steps, each from the oracle's weights:
#   float, all placements, and documents: train_sim finds no difference, and its loss is the oracle's within 1e-4
#   bf16, three placements, and fp16, one: the same, and the error of every tensor in every step is at most
#     twice that of the CPU's kernels, which ./train finds against the same oracle
# Few tokens keep the simulator's time small; 17 of them leave partial blocks everywhere.
# usage: tests/check_training.sh [DIRECTORY]   for check.csv of each run; default build/check
set -eu
cd "$(dirname "$0")/.."
out=${1:-build/check}
rm -rf "$out"
flags="--size tiny --batch 2 --seq 17 --check 5 --tune off"

# run PROGRAM NAME FLAGS...: leaves $out/NAME/check.csv, and shows what was printed if it fails
run() {
    local program=$1 name=$2
    shift 2
    mkdir -p "$out"
    # shellcheck disable=SC2086
    if ! "./$program" $flags --out "$out/$name" "$@" > "$out/$name.log" 2>&1; then
        cat "$out/$name.log"
        echo "$name: failed"
        exit 1
    fi
}

for norm in $(./train --norm list | cut -d" " -f1) documents; do
    if [ "$norm" = documents ]; then # a space begins one
        run train_sim "$norm-fp32" --norm peri --document-mask --separator 32
    else
        run train_sim "$norm-fp32" --norm "$norm"
    fi
    awk -F, -v name="$norm fp32" '
        NR == 1 { next }
        { rows++; if ($6 > 0 && $5 / $6 > share) share = $5 / $6 }
        $2 == "loss" { steps++; if (!($5 <= 1e-4)) far = 1; if ($5 > loss) loss = $5 }
        END {
            printf "%s: %d comparisons, the worst at %.2f of its tolerance, loss within %.1g\n",
                name, rows, share, loss
            exit !(steps == 5 && !far)
        }' "$out/$norm-fp32/check.csv"
done

for each in "post bf16" "pre bf16" "peri bf16" "pre fp16"; do
    read -r norm precision <<< "$each"
    run train "$norm-$precision-cpu" --norm "$norm" --precision "$precision"
    run train_sim "$norm-$precision-sim" --norm "$norm" --precision "$precision"
    paste -d, "$out/$norm-$precision-cpu/check.csv" "$out/$norm-$precision-sim/check.csv" |
        awk -F, -v name="$each" '
        NR == 1 { next }
        $1 $2 $3 != $7 $8 $9 { print name ": rows do not match"; exit bad = 1 }
        { rows++; steps = $1 }
        $5 > 0 && $11 / $5 > ratio { ratio = $11 / $5; at = $2 " " $3 }
        !($11 <= 2 * $5) {
            printf "%s, step %d: %s of %s: error %g, CPU %g\n", name, $1, $2, $3, $11, $5
            bad = 1
        }
        END {
            printf "%s: %d comparisons, error at most %.2f times that of the CPU (%s)\n",
                name, rows, ratio, at
            exit bad || steps != 5
        }'
done
