#!/usr/bin/env bash
# Takes one barrier out of a copy of the kernels, runs a case of the conformance suite on them, and
# asks that ThreadSanitizer reports a race between the two lines that the barrier kept apart.
# make sim-race calls this with
#   $1 the compiler's command   $2 all objects and libraries of the suite   $3 a folder to work in
set -eu
compile=$1 link=$2 folder=$3

# NAME KERNEL.cu, an expression for sed that takes the barrier out of parallel.h, the two lines (as
# text in the file), and the case
plant() {
    local name=$1 kernel=$2 edit=$3 first=$4 second=$5 line=$6
    local at="$folder/$name"
    mkdir -p "$at"
    cp "gpu/$kernel" "$at/"
    sed "$edit" gpu/parallel.h > "$at/parallel.h"
    if cmp -s gpu/parallel.h "$at/parallel.h"; then
        echo "$name: gpu/parallel.h no longer has the barrier that $0 takes out"
        exit 1
    fi
    $compile -x c++ -c "$at/$kernel" -o "$at/kernel.o"
    # the first definition of an inline function is the one that is linked
    $compile "$at/kernel.o" ${link/ $folder\/gpu\/${kernel%.cu}.o / } -o "$at/conformance"
    if OMP_NUM_THREADS=1 "$at/conformance" "$line" > "$at/log" 2>&1; then
        echo "$name: no race was reported"
        exit 1
    fi
    # the lines of the accesses; GCC's ThreadSanitizer cannot tell them where templates are concerned
    sed -n 's/^ *#0 .*(conformance+\(0x[0-9a-f]*\))$/\1/p' "$at/log" |
        addr2line -i -e "$at/conformance" > "$at/lines"
    for text in "$first" "$second"; do
        local number
        number=$(grep -nF "$text" gpu/parallel.h | head -1 | cut -d: -f1)
        if ! grep -Eq "parallel.h:$number( |$)" "$at/lines"; then
            cat "$at/log" "$at/lines"
            echo "$name: the report does not name parallel.h:$number, $text"
            exit 1
        fi
        echo "$name: a race at gpu/parallel.h:$number, $text"
    done
}

# in block_sum, between the warps' writing and the threads' reading
plant no-barrier-after-write loss.cu \
    '/A block_sum/,/^}/{/shared\[threadIdx.x/{n;s/__syncthreads();//}}' \
    'shared[threadIdx.x / warp_size] = value' 'sum += shared[w]' \
    'head_loss R=3 C=2 V=257 tuned=no z_loss=0 type=float seed=1'
# in front of that: slow threads may still be reading what block_max had there
plant no-barrier-before-write loss.cu \
    '/value = warp_sum(value)/{n;s/__syncthreads();//}' \
    'shared[threadIdx.x / warp_size] = value' 'shared[w] > most' \
    'head_loss R=3 C=2 V=257 tuned=no z_loss=0 type=float seed=1'
