#!/usr/bin/env bash
# The README's run in fp32, bf16 and fp16: fp16 ends within 0.01 nats of fp32 with every seed, no step of it being
# skipped but for the loss scale's first ones, and it takes the memory that bf16 takes.
# usage: tests/check_precision.sh [STEPS [SEED...]]   default: 200 1 2 3, a quarter of an hour; TRAIN names another ./train
set -eu
cd "$(dirname "$0")/.."
steps=${1:-200}
shift $(($# > 0))
seeds=${*:-1 2 3}
train=${TRAIN:-./train}
out=build/check-precision
rm -rf "$out"

memory() { $train --norm peri --precision "$1" --dry-run --vocab 256 | sed -n 's/^memory  *//p'; }
[ -n "$(memory fp16)" ] && [ "$(memory fp16)" = "$(memory bf16)" ] ||
    { echo "memory: bf16 $(memory bf16); fp16 $(memory fp16)"; exit 1; }
echo "memory of bf16 and of fp16: $(memory fp16)"

failed=0
for seed in $seeds; do
    for precision in fp32 bf16 fp16; do
        $train --norm peri --steps "$steps" --seed "$seed" --precision $precision --val-every 0 --probe-every 0 \
            --save-every 0 --quiet --out "$out/$precision-$seed" > "$out-log" || { cat "$out-log"; exit 1; }
        declare "$precision=$(sed -n 's/^final val loss //p' "$out-log")"
    done
    skipped=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "skipped_steps") column = i } END { print $column }' \
        "$out/fp16-$seed/metrics.csv")
    # shellcheck disable=SC2154  # declared above
    awk -v a="$fp32" -v b="$bf16" -v c="$fp16" -v seed="$seed" -v skipped="$skipped" 'BEGIN {
        printf "seed %d, final validation loss: fp32 %s, bf16 %+.4f, fp16 %+.4f, %d steps skipped\n",
            seed, a, b - a, c - a, skipped
        d = c - a
        exit !(a > 0 && d <= 0.01 && d >= -0.01 && skipped <= 5)
    }' || failed=1
done
exit $failed
