#!/usr/bin/env bash
# Processes against threads: a step of one process with all cores, beside one of as many processes as
# cores with a thread each. They take turns, so that a machine that slows down slows both.
#
# Usage: ranks.sh ROUNDS RANKS, called by make bench-ranks; prints medians and their ratios
set -euo pipefail
rounds=$1 ranks=$2
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm=isolated # in a container, without ssh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mpi() { mpirun --oversubscribe -n "$ranks" ./train_mpi "$@"; }

# The median time in ms of a run's steps from the third on, the median memory in MiB of its first process.
median() { awk -F, -v k="$2" 'FNR == 1 { next } $1 > 2 { print $k }' "$1"/*/metrics.csv | sort -g |
    awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

compare() { # NAME STEPS FLAGS...
    local name=$1 steps=$2
    shift 2
    local flags=(--steps "$steps" --save-every 0 --val-every 0 --probe-every 0 "$@")
    for ((i = 0; i < rounds; i++)); do
        ./train "${flags[@]}" --out "$work/$name-threads/$i" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
        mpi "${flags[@]}" --out "$work/$name-ranks/$i" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    done
    local threads both
    threads=$(median "$work/$name-threads" 6) both=$(median "$work/$name-ranks" 6)
    awk -v a="$threads" -v b="$both" -v n="$name" -v r="$ranks" -v m="$(median "$work/$name-threads" 9)" \
        -v k="$(median "$work/$name-ranks" 9)" 'BEGIN {
        printf "%-12s 1 process, %d threads: %.0f ms, %.0f MiB; %d processes, 1 thread: %.0f ms, %.0f MiB each; speed %.3f\n",
               n, r, a, m, r, b, k, a / b }'
}

compare small 30 --size small
compare 124m 6 --size 124m --batch 4 --seq 256
