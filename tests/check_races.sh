#!/usr/bin/env bash
# The CPU's kernels under ThreadSanitizer: the conformance suite without a report, then with a race planted in
# a copy of one source at a time, which must be reported.
# make test-tsan calls this with
#   $1 the compiler's command   $2 the suite's objects   $3 libraries   $4 a folder with the suite
set -eu
compile=$1 objects=$2 libraries=$3 folder=$4
# Three threads, however many cores there are. OpenBLAS, which is not watched, has one.
export OMP_NUM_THREADS=3 OPENBLAS_NUM_THREADS=1 TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66"

"$folder/conformance" --backend cpu --quiet

# NAME SOURCE, an expression for sed, and the case
plant() {
    local name=$1 source=$2 edit=$3 line=$4
    local at="$folder/${name//[^A-Za-z0-9]/-}" object
    mkdir -p "$at"
    sed "$edit" "src/cpu/$source.cpp" > "$at/faulty.cpp"
    if cmp -s "src/cpu/$source.cpp" "$at/faulty.cpp"; then
        echo "$name: src/cpu/$source.cpp no longer has the line that $0 changes" >&2
        exit 1
    fi
    $compile -c "$at/faulty.cpp" -o "$at/faulty.o"
    object=$(printf '%s\n' $objects | grep "/src/cpu/$source\.o$")
    $compile "$at/faulty.o" ${objects/"$object"/} $libraries -o "$at/conformance"
    "$at/conformance" --backend cpu --quiet "$line" > "$at/log" 2>&1 || true
    if ! grep -q 'WARNING: ThreadSanitizer: data race' "$at/log"; then
        cat "$at/log"
        echo "$name: NOT FOUND"
        exit 1
    fi
    printf '%-46s %s\n' "$name" "found, $(grep -c 'WARNING: ThreadSanitizer: data race' "$at/log") reports"
    rm -f "$at/conformance"
}

plant 'RMSNorm: rows share the sum of squares' norm \
    's/Accum<Real> squares = 0;/static Accum<Real> squares; squares = 0;/' rmsnorm
plant 'RMSNorm backward: threads share their partial sums' norm \
    's/partial + size_t(thread) \* C;/partial;/' rmsnorm
plant 'sum of squares: blocks share the sum' optimizer \
    's/double s = 0;/static double s; s = 0;/' sum_of_squares
