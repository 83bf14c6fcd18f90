#!/usr/bin/env bash
# The first hour on a GPU, in parts of less than ten minutes each, in this order:
#   gpu/first_hour.sh 0   builds what the others need, without a GPU: build/v3/portable, programs for any x86-64
#                         of the last ten years with their libraries beside them (CUDA's are the GPU machine's)
#   gpu/first_hour.sh 1   what machine it is; every kernel against the oracle, long attention too; memory errors;
#                         training steps against the oracle; two runs with the same bits
#   gpu/first_hour.sh 2   what the machine can do, and each kernel at the paper's three sizes beside it
#   gpu/first_hour.sh 3   three steps of each size: tokens a second, and where the time goes
#   gpu/first_hour.sh 4   the same sizes in PyTorch, compiled, with its attention
#   gpu/first_hour.sh 5   300 steps of `small` in bf16 beside the CPU's
# What part N finds is in OUT/part-N.txt (OUT=build/first-hour by default) and in files beside it. A failed
# check is told and the next one made; the exit code is then 1. What is not here is skipped by name.
# SIM=1: the simulator's programs and tiny sizes, to try the script where there is no GPU.
set -u
cd "$(dirname "$0")/.." || exit
part=${1:-} sim=${SIM:-} out=${OUT:-build/first-hour}
kind=cuda objects=build/v3 march=x86-64-v3
[ -n "$sim" ] && kind=sim objects=${OBJECTS:-build} march=${MARCH:-native}
bin=${BIN:-$objects/portable}
failures=0

# what, then a command: its output, how long it took, and whether it failed
check() {
    local start=$SECONDS code=0
    echo "--- $1"
    "${@:2}" 2>&1 || code=$?
    echo "--- $1: $([ $code = 0 ] && echo ok || echo "FAILED (exit code $code)"), $((SECONDS - start)) s"
    [ $code = 0 ] || failures=$((failures + 1))
    return $code
}
skip() { echo "--- skipped: $1"; }
here() { command -v "$1" > /dev/null; }
# our programs find the libraries that they were built with; nvidia-smi and Python do not
with_libraries() { env "LD_LIBRARY_PATH=$bin/lib:${LD_LIBRARY_PATH:-}" "$@"; }
ours() { with_libraries timeout 540 "$bin/$1" "${@:2}"; }
check_ours() { check "$1" ours "${@:2}"; }

build() {
    local without=()
    [ -z "$sim" ] && without=(ONEDNN= NCCL= CUDNN_FRONTEND=build/cudnn-frontend/include "LDFLAGS=-Wl,--as-needed")  # smaller
    make --no-print-directory portable BUILD="$objects" MARCH="$march" SIM="$sim" "${without[@]}"
}

long_attention() {  # sequences, longer than those of the suite
    local T D
    for D in 64 128; do
        for T in 1024 4096; do
            echo "attention B=1 Tq=$T Tk=$T first=0 H=2 KV=1 D=$D documents=no type=bf16 seed=1"
        done
        echo "attention B=1 Tq=1024 Tk=1024 first=0 H=2 KV=1 D=$D documents=no type=fp16 seed=1"
    done
}

same_bits() {
    cmp <(cut -d, -f1-5 "$scratch/once/metrics.csv") <(cut -d, -f1-5 "$scratch/again/metrics.csv") &&
        cmp "$scratch"/once/step-*/model.safetensors "$scratch"/again/step-*/model.safetensors
}

part_1() {
    if here nvidia-smi; then check "nvidia-smi" nvidia-smi; else skip "nvidia-smi"; fi
    check "libraries" ldd "$bin/train_$kind"
    local cases=() small=(norm rope residual)
    [ -z "$sim" ] && mapfile -t cases < <(long_attention)
    [ -n "$sim" ] && cases=("${small[@]}")
    if [ -z "$sim" ]; then
        check_ours "conformance" conformance_cuda --backend cuda --quiet
        # where a library computes it by itself
        check_ours "conformance of the own tiles" conformance_cuda --backend cuda --quiet --attention tiles attention
    fi
    check_ours "conformance, ${#cases[@]} further" conformance_$kind --backend cuda --quiet "${cases[@]}"
    if here compute-sanitizer && [ -z "$sim" ]; then
        for tool in memcheck racecheck synccheck; do
            check "compute-sanitizer, $tool" with_libraries timeout 300 compute-sanitizer --tool $tool --error-exitcode 9 \
                "$bin/conformance_cuda" --backend cuda --quiet --attention tiles "${small[@]}" activation embedding \
                'attention B=2 Tq=5 Tk=12 first=6 H=4 KV=2 D=3 documents=yes type=float seed=1' \
                'attention B=1 Tq=70 Tk=70 first=0 H=2 KV=1 D=64 documents=yes type=bf16 seed=1' \
                'attention B=1 Tq=70 Tk=70 first=0 H=2 KV=1 D=128 documents=no type=bf16 seed=1' \
                'attention B=1 Tq=70 Tk=70 first=0 H=2 KV=1 D=160 documents=no type=fp16 seed=1'
        done
    else
        skip "compute-sanitizer"
    fi
    local steps=5 flags=(--size tiny --batch 4 --seq 64)
    [ -n "$sim" ] && steps=1 flags=(--size tiny --layers 1 --batch 1 --seq 16)
    for precision in fp32 bf16 fp16; do
        check_ours "--check $steps, $precision" train_$kind --check $steps "${flags[@]}" --precision $precision \
            --out "$scratch/check-$precision"
    done
    flags+=(--precision bf16 --steps $((4 * steps)) --val-batches 1 --probe-every 0 --quiet)
    check_ours "a run" train_$kind "${flags[@]}" --out "$scratch/once"
    check_ours "the same again" train_$kind "${flags[@]}" --out "$scratch/again"
    check "the same bits" same_bits
}

part_2() {
    local sizes=('B=1 T=8192 C=1024 H=8 F=3840 V=100277' 'B=1 T=8192 C=2048 H=16 F=7680 V=100277'
        'B=1 T=8192 C=2560 H=16 F=9600 V=100277')
    [ -n "$sim" ] && sizes=('B=1 T=16 C=32 H=2 F=96 V=300')
    for size in "${sizes[@]}"; do
        check_ours "$size" conformance_$kind --type bf16 --time "$size"
    done
}

# a size's batch and what it recomputes, the first of them that fits
steps_of() {
    local size=$1 batch recompute
    local flags=(--data "$scratch/zipf.bin" --precision bf16 --steps 3 --warmup 0 --val-batches 1 --val-every 0
        --probe-every 0 --save-every 0 --norm peri --profile)
    if [ -n "$sim" ]; then
        flags+=(--size tiny --seq 16 --vocab 300)
    else
        flags+=(--config "configs/paper-$size.json" --val-data "$scratch/zipf.bin")
    fi
    for choice in "4 none" "2 none" "1 none" "2 norms" "1 norms" "2 sublayers"; do
        read -r batch recompute <<< "$choice"
        [ -n "$sim" ] && batch=1
        local directory=$scratch/$size-$batch-$recompute
        ours train_$kind "${flags[@]}" --batch "$batch" --accumulate $((8 / batch)) --recompute "$recompute" \
            --out "$directory" > "$scratch/log" 2>&1
        local code=$?
        [ $code = 2 ] && { tail -n 1 "$scratch/log"; continue; }
        echo "$size: batch $batch, --recompute $recompute"
        grep -a -v '^ .*|' "$scratch/log"
        cp "$directory/metrics.csv" "$out/metrics-$size.csv"
        cp "$directory/profile.csv" "$out/profile-$size.csv"
        return $code
    done
    return 2
}

part_3() {
    local names=(400m 1.5b 3.2b) tokens=4000000 vocab=100277
    [ -n "$sim" ] && names=(tiny) tokens=20000 vocab=300
    check_ours "tokens by Zipf's law" zipf_shard "$scratch/zipf.bin" $tokens $vocab || return
    for size in "${names[@]}"; do check "$size" steps_of "$size"; done
}

part_4() {
    local python=${PYTHON:-python3} device=cuda sizes=("24 1024 8 3840 4" "24 2048 16 7680 2" "32 2560 16 9600 1")
    local seq=8192 vocab=100277 layers width heads ffn batch
    [ -n "$sim" ] && device=cpu sizes=("2 32 2 96 1") seq=16 vocab=300
    if ! "$python" -c 'import torch' 2> /dev/null; then
        skip "PyTorch (PYTHON names a Python that has it)"
        return
    fi
    for size in "${sizes[@]}"; do
        read -r layers width heads ffn batch <<< "$size"
        for mode in fused compiled; do
            check "PyTorch, width $width, $batch x $seq, $mode: seconds a step" timeout 280 "$python" \
                tests/bench/pytorch.py --device $device --layers "$layers" --width "$width" --heads "$heads" \
                --ffn "$ffn" --vocab $vocab --batch "$batch" --seq $seq --steps 3 --mode $mode --precision bf16
        done
    done
}

# the largest difference of the two losses' means over 20 steps (over all, where they are fewer)
curves() {
    paste <(cut -d, -f3 "$out/metrics-cpu.csv") <(cut -d, -f3 "$out/metrics-gpu.csv") | awk '
        NR > 1 { d += $1 - $2; n++
                 if (n == 20) { m = d / n; if (m < 0) m = -m; if (m > worst) worst = m; d = n = 0; all++ } }
        END { if (n && !all) worst = d / n < 0 ? -d / n : d / n
              printf "largest difference of means over 20 steps: %.4f (allowed: 0.1)\n", worst
              exit !(NR > 1 && worst <= 0.1) }'
}

part_5() {
    local flags=(--size small --precision bf16 --steps 300 --lr 2e-3 --probe-every 0 --save-every 0 --quiet)
    [ -n "$sim" ] && flags=(--size tiny --layers 1 --batch 1 --seq 16 --precision bf16 --steps 3 --val-batches 1
        --probe-every 0 --save-every 0 --quiet)
    check_ours "GPU" train_$kind "${flags[@]}" --out "$scratch/gpu" --profile || return
    check_ours "CPU" train "${flags[@]}" --out "$scratch/cpu" || return
    cp "$scratch/gpu/metrics.csv" "$out/metrics-gpu.csv"
    cp "$scratch/cpu/metrics.csv" "$out/metrics-cpu.csv"
    check "the two curves" curves
}

case $part in
    0) build ;;
    [1-5])
        [ -x "$bin/train_$kind" ] || { echo "$bin/train_$kind is not there: gpu/first_hour.sh 0 builds it"; exit 2; }
        mkdir -p "$out"
        scratch=$(mktemp -d)
        trap 'rm -rf "$scratch"' EXIT
        "part_$part" > >(tee "$out/part-$part.txt")
        wait $!  # for tee
        [ $failures = 0 ]
        ;;
    *)
        sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
        exit 2
        ;;
esac
