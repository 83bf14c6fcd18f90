#!/usr/bin/env bash
# All benchmarks, one after the other: the step of each size beside what its products alone would take,
# each kernel's speed at the shapes of `small` and of `124m`, how steps scale. Says before each how
# far it is and about how long the rest will take; a model needs 6 GB at most.
set -eu
cd "$(dirname "$0")/../.."
tests=${TESTS:-build/tests}
placements="peri $(./train --norm list | cut -d" " -f1 | grep -vx peri | tr "\n" " ")"

# seconds on two cores of an AMD EPYC (Zen 3), as a measure of how much there is to do; command
benchmarks=(
    "170 step fp32 small 16 128 256 $placements"
    "20 step bf16 small 16 128 256"
    "400 step fp32 124m 4 256 50304 $placements"
    "230 step fp32 124m 4 1024 50304 peri pre"
    "120 step fp32 124m 1 4096 50304"
    "160 step bf16 124m 4 1024 50304"
    "30 kernels B=16 T=128 C=128 H=4 F=384 V=256"
    "160 kernels B=4 T=1024 C=768 H=12 F=2048 V=50304"
    "200 scaling"
)
left=0 done=0
for benchmark in "${benchmarks[@]}"; do left=$((left + ${benchmark%% *})); done
for i in "${!benchmarks[@]}"; do
    read -r weight command <<< "${benchmarks[$i]}"
    seconds=$((done > 0 ? left * SECONDS / done : left))
    echo "--- $((i + 1)) of ${#benchmarks[@]}, about $((seconds / 60 + 1)) minutes left: $command" >&2
    # shellcheck disable=SC2086  # the command is a list of words
    if [[ $command = kernels* ]]; then
        "$tests/conformance_cpu" --time "${command#kernels }"
    else
        "$tests"/bench/$command
    fi
    done=$((done + weight)) left=$((left - weight))
done
echo "--- all of it took $((SECONDS / 60)) minutes" >&2
