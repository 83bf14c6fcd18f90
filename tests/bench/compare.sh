#!/usr/bin/env bash
# Seconds a step of Peri-LN: peri.cpp and PyTorch's modes (pytorch.py) in turn, medians over all steps
# of all rounds, and how many times as fast peri.cpp is as each. Modes that this PyTorch or this
# machine lacks are skipped by name.
#
#   compare.sh [SIZE BATCH SEQ VOCAB [STEPS ROUNDS [MODE/PRECISION ...]]]
#   e.g. compare.sh 124m 4 1024 50304 2 3 eager/fp32 compiled/fp32
#
# PYTHON names a Python that has PyTorch (default: python3-torch's). THREADS: of both (default: all);
# PYTORCH_THREADS: of PyTorch, 0 being what it takes by itself (some builds take only one of two).
# LIMIT: seconds after which a mode is given up (default 900).
set -eu
cd "$(dirname "$0")/../.."
size=${1:-small} batch=${2:-16} seq=${3:-128} vocab=${4:-256} steps=${5:-10} rounds=${6:-3}
modes=${*:7}
modes=${modes:-eager/fp32 fused/fp32 compiled/fp32 eager/autocast fused/autocast compiled/autocast
    eager/bf16 fused/bf16 compiled/bf16}
python=${PYTHON:-/usr/bin/python3}
threads=${THREADS:-$(nproc)}
pytorch_threads=${PYTORCH_THREADS:-$threads}
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT

if ! "$python" -c 'import torch' 2> /dev/null; then
    echo "skipped: PyTorch (install python3-torch, or name a Python that has it in PYTHON)"
    exit 0
fi
read -r layers width heads ffn <<< "$(./train --dry-run --size "$size" --vocab "$vocab" | sed -n \
    's/^model *\([0-9]*\) layers, width \([0-9]*\), \([0-9]*\) heads.* MLP \([0-9]*\).*/\1 \2 \3 \4/p')"
# PyTorch gets the BLAS core that ./train gives itself.
core=$(./train --dry-run | sed -n 's/.*core \([A-Za-z0-9]*\).*/\1/p' | tr '[:lower:]' '[:upper:]')

ours() {  # precision
    build/tests/bench/timed_steps "$1" "$size" "$batch" "$seq" "$vocab" "$steps" "$threads" \
        >> "$here/ours-$1"
}
theirs() {  # mode, precision, file
    OPENBLAS_CORETYPE=$core timeout "${LIMIT:-900}" "$python" tests/bench/pytorch.py --layers "$layers" \
        --width "$width" --heads "$heads" --ffn "$ffn" --vocab "$vocab" \
        --batch "$batch" --seq "$seq" --threads "$pytorch_threads" --steps "$steps" --warmup 1 \
        --mode "$1" --precision "$2" >> "$here/$3" 2> "$here/error" ||
        case $? in
            124) echo "skipped: a round took more than ${LIMIT:-900} s" > "$here/$3" ;;
            *) echo "skipped: $(tail -n 1 "$here/error")" > "$here/$3" ;;
        esac
}
for round in $(seq "$rounds"); do
    ours fp32
    case $modes in *bf16* | *autocast*) ours bf16 ;; esac
    for mode in $modes; do
        grep -q skipped "$here/${mode/\//-}" 2> /dev/null ||
            theirs "${mode%/*}" "${mode#*/}" "${mode/\//-}"
    done
done

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR+1)/2)] + v[int(NR/2)+1]) / 2 }'; }
version=$("$python" -c 'import torch; print(torch.__version__)')
echo "$size, $batch x $seq tokens, vocabulary $vocab, $threads threads, medians of $rounds rounds of $steps steps"
echo "PyTorch $version (OpenBLAS core $core, threads ${pytorch_threads/#0/as it takes by itself})"
for precision in fp32 bf16; do
    [ -s "$here/ours-$precision" ] || continue
    seconds=$(median "$here/ours-$precision")
    awk -v p=$precision -v s="$seconds" -v n=$((batch * seq)) 'BEGIN {
        printf "%-22s %8.3f s a step %9.0f tokens/s\n", "peri.cpp " p, s, n / s }'
done
for mode in $modes; do
    file=$here/${mode/\//-}
    if grep -q skipped "$file"; then
        printf '%-22s %s\n' "PyTorch $mode" "$(grep skipped "$file")"
    else
        precision=bf16
        [ "${mode#*/}" = fp32 ] && precision=fp32
        awk -v name="PyTorch $mode" -v a="$(median "$here/ours-$precision")" \
            -v b="$(median "$file")" -v n=$((batch * seq)) -v p="$precision" 'BEGIN {
            printf "%-22s %8.3f s a step %9.0f tokens/s   peri.cpp %s is %.2f x as fast\n",
                name, b, n / b, p, b / a }'
    fi
done
