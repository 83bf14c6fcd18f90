#!/usr/bin/env bash
# Nothing is lost: a run that is killed at random moments, or cut off before each write, fsync and
# rename of its own (one of five with fewer than 500 kills), and resumed each time, ends with the bits of one that was
# never interrupted.
# Single-process training, --keep-best, fine-tuning on samples, accumulated, bf16, fp16 with its loss scale, and what has diverged.
# usage: tests/check_resume.sh SHIM [KILLS]   SHIM: tests/exit_shim.c built; default 28
# shellcheck disable=SC2086  # flags are meant to be split
set -eu
cd "$(dirname "$0")/.."
shim=$(realpath "$1")
kills=${2:-28}
out=build/check-resume
rm -rf "$out"
mkdir -p "$out"

# a run too small to take time
small="./train --size tiny --layers 1 --width 8 --heads 2 --ffn 12 --batch 2 --seq 17
    --val-batches 1 --threads 1 --quiet"
export GOMP_SPINCOUNT=0 XDG_CACHE_HOME=$PWD/$out/cache  # what libraries were chosen, by the first run

# train NAME FLAGS...: such a run in $out/NAME
train() {
    local name=$1
    shift
    $small --out "$out/$name" "$@" > "$out/$name.log" 2>&1
}

# same NAME WHOLE: both have the same weights, last and best, moments and, but for the times, metrics
same() {
    local last best
    last=$(basename "$(ls -d "$out/$2"/step-* | tail -1)")
    best=$(ls -d "$out/$2"/best-* 2> /dev/null | tail -1)
    for file in "$last/model.safetensors" "$last/optimizer.safetensors" validation.csv probe.csv \
        $(cd "$out/$2" && ls hidden_variance.csv 2> /dev/null) \
        ${best:+"$(basename "$best")/model.safetensors" "$(basename "$best")/config.json"}; do
        cmp "$out/$2/$file" "$out/$1/$file"
    done
    cmp <(cut -d, -f1-5 "$out/$2/metrics.csv") <(cut -d, -f1-5 "$out/$1/metrics.csv")
}

# ---- killed at random moments -------------------------------------------------------------------

long="--save-every 100 --val-every 1000 --probe-every 1000"
steps="--steps 15000"
train weights --steps 20 --save-every 20
for i in $(seq 24); do
    echo "{\"prompt\": \"$i and \", \"completion\": \"$((i * i))\"}"
done > "$out/samples.jsonl"

flags_of() {
    case $1 in
        plain) echo "$steps" ;;
        best) echo "$steps --keep-best" ;;
        samples) echo "--epochs 1200 --data $out/samples.jsonl --init-from $out/weights" ;;
        accumulate) echo "--steps 6000 --accumulate 3" ;;
        bf16) echo "$steps --precision bf16" ;;
        fp16) echo "$steps --precision fp16 --loss-scale dynamic --lr 0.05" ;;
        diverged) echo "$steps --norm pre --lr 100 --clip 0 --on-divergence continue" ;;
    esac
}

RANDOM=7
modes="plain best samples accumulate bf16 fp16 diverged"
all=0
for mode in $modes; do
    flags="$long $(flags_of $mode)"
    train "whole-$mode" $flags || { cat "$out/whole-$mode.log"; exit 1; }
    killed=0 whole=0
    while [ "$killed" -lt $((kills / 7)) ]; do
        $small --out "$out/killed" $flags --resume auto > "$out/killed.log" 2>&1 &
        sleep "0.$(printf %03d $((40 + RANDOM % 120)))"
        if kill -9 $!; then
            killed=$((killed + 1))
        else  # it had ended: compared, and begun anew
            same killed "whole-$mode"
            rm -rf "$out/killed"
            whole=$((whole + 1))
        fi
        wait $! || true
    done 2> /dev/null
    train killed $flags --resume auto
    same killed "whole-$mode"
    rm -rf "$out/killed"
    echo "$mode: killed $killed times at random, resumed, and compared $((whole + 1)) times: the same bits"
    all=$((all + killed))
done
echo "$all kills"

# ---- cut off before each write, fsync and rename in turn ----------------------------------------

short="--steps 7 --save-every 3 --val-every 1 --probe-every 3 --keep 2 --keep-best"
train short $short
every=$((kills < 500 ? 5 : 1)) cuts=0
for ((n = 1;; n += every)); do
    rm -rf "$out/cut"
    if LD_PRELOAD=$shim EXIT_BEFORE=$n train cut $short; then break; fi
    complete=$(ls -d "$out"/cut/step-* 2> /dev/null || true)
    # the best weights are written after their row of validation.csv: one validation may be without
    if [ "$(cat "$out/cut/validation.csv" 2> /dev/null | wc -l)" -gt 2 ] &&
        ! ls "$out"/cut/best-*/config.json > /dev/null; then
        echo "cut off before call $n: no best weights are there"
        exit 1
    fi
    train cut $short --resume auto
    if grep "passed over" "$out/cut.log"; then
        echo "cut off before call $n: a checkpoint is damaged"
        exit 1
    fi
    if [ -n "$complete" ] && ! grep -q "resumed.*$(basename "$(echo "$complete" | tail -1)")" "$out/cut.log"; then
        echo "cut off before call $n: a checkpoint was lost"
        exit 1
    fi
    same cut short
    cuts=$((cuts + 1))
done
[ "$n" -gt 100 ] || { echo "only $n calls were seen: is $shim loaded?"; exit 1; }
echo "cut off before $cuts of $((n - 1)) writes, fsyncs and renames, and resumed: the same bits"
