#!/usr/bin/env bash
# The OpenCL backend as a whole program: steps beside the oracle, two runs to the same bits, the
# compiled kernels kept from one run to the next, no device, and a host pointer stopped by name.
set -eu
train=$1 host_pointer=$2 runs=build/check-opencl
rm -rf "$runs"
mkdir -p "$runs"
fail() { echo "check_opencl: $*"; exit 1; }
export XDG_CACHE_HOME=$PWD/$runs/cache
tiny() { "$train" --size tiny --batch 2 --seq 16 --val-every 0 --val-batches 1 "$@" > "$runs/log" 2>&1; }

for precision in fp32 bf16 fp16; do
    tiny --check 3 --precision $precision --out "$runs/check-$precision" || { cat "$runs/log"; fail "--check, $precision"; }
done
[ -n "$(ls "$XDG_CACHE_HOME/peri.cpp/opencl")" ] || fail "no compiled kernel was kept"

# all but the times
columns() { cut -d, -f1-5,10- "$1/metrics.csv"; }
for run in a b; do
    tiny --steps 20 --out "$runs/$run" || { cat "$runs/log"; fail "a run of 20 steps"; }
    # again from kernels of a cache that is no longer what it was
    for kept in "$XDG_CACHE_HOME"/peri.cpp/opencl/*; do echo "no program" > "$kept"; done
done
[ "$(columns "$runs/a" | wc -l)" = 21 ] || fail "not 20 steps in metrics.csv"
cmp <(columns "$runs/a") <(columns "$runs/b") || fail "two runs differ"

code=0
OCL_ICD_VENDORS=/nonexistent tiny --steps 1 --out "$runs/none" || code=$?
[ $code = 2 ] && [ "$(wc -l < "$runs/log")" = 1 ] && grep -q "no device that OpenCL can use" "$runs/log" ||
    { cat "$runs/log"; fail "without a device: exit code $code"; }
# stopped by abort: the shell says so too
code=0
(ulimit -c 0; "$host_pointer") > "$runs/log" 2>&1 || code=$?
[ $code != 0 ] && grep -q "bug: residual_add was given .* no memory of the device" "$runs/log" ||
    { cat "$runs/log"; fail "a host pointer: exit code $code"; }
echo "check_opencl: every run as it should be"
