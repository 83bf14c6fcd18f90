#!/usr/bin/env bash
# Seconds a step of `small` (16 x 128 tokens, Peri-LN, fp32): ./train and PyTorch eager in turn,
# medians over all steps of all rounds, and their ratio. Skipped by name where PyTorch is missing.
set -eu
cd "$(dirname "$0")/../.."
rounds=${1:-3}
python=${PYTHON:-/usr/bin/python3}
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT

if ! "$python" -c 'import torch' 2> /dev/null; then
    echo "skipped: PyTorch (install python3-torch, or name a Python that has it in PYTHON)"
    exit 0
fi
# PyTorch gets the BLAS core that ./train gives itself.
core=$(./train --dry-run | sed -n 's/.*core \([A-Za-z0-9]*\).*/\1/p' | tr '[:lower:]' '[:upper:]')

for round in $(seq "$rounds"); do
    ./train --norm peri --size small --steps 12 --val-every 0 --val-batches 1 --quiet \
        --out "$here/$round" > /dev/null
    tail -n +4 "$here/$round/metrics.csv" | cut -d, -f6 | awk '{ print $1 / 1000 }' >> "$here/train"
    OPENBLAS_CORETYPE=$core "$python" tests/bench/pytorch.py --steps 10 >> "$here/pytorch"
done
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR+1)/2)] + v[int(NR/2)+1]) / 2 }'; }
ours=$(median "$here/train") theirs=$(median "$here/pytorch")
version=$("$python" -c 'import torch; print(torch.__version__)')
awk -v a="$ours" -v b="$theirs" -v v="$version" -v core="$core" 'BEGIN {
    printf "./train %.3f s a step, PyTorch %s eager fp32 (OpenBLAS core %s) %.3f s: ratio %.2f\n",
        a, v, core, b, b / a }'
