#!/usr/bin/env bash
# Takes one barrier out of a copy of the kernels, runs a case of the conformance suite on them, and
# asks that ThreadSanitizer reports a race between the two lines that the barrier kept apart.
# make sim-race calls this with
#   $1 the compiler's command   $2 all objects and libraries of the suite   $3 a folder to work in
set -eu
compile=$1 link=$2 folder=$3

# NAME KERNEL.cu FILE, an expression for sed that takes the barrier out of FILE (the kernel's or
# parallel.h), the two lines (as text in the file), and the case
plant() {
    local name=$1 kernel=$2 file=$3 edit=$4 first=$5 second=$6 line=$7
    local at="$folder/$name"
    mkdir -p "$at"
    cp "gpu/$kernel" gpu/parallel.h "$at/"
    sed -i "$edit" "$at/$file"
    if cmp -s "gpu/$file" "$at/$file"; then
        echo "$name: gpu/$file no longer has the barrier that $0 takes out"
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
        number=$(grep -nF "$text" "gpu/$file" | head -1 | cut -d: -f1)
        if ! grep -Eq "$file:$number( |$)" "$at/lines"; then
            cat "$at/log" "$at/lines"
            echo "$name: the report does not name $file:$number, $text"
            exit 1
        fi
        echo "$name: a race at gpu/$file:$number, $text"
    done
}

# in block_sum, between the warps' writing and the threads' reading
plant no-barrier-after-write loss.cu parallel.h \
    '/A block_sum/,/^}/{/shared\[threadIdx.x/{n;s/__syncthreads();//}}' \
    'shared[threadIdx.x / warp_size] = value' 'sum += shared[w]' \
    'head_loss R=3 C=2 V=257 tuned=no z_loss=0 loss_scale=0 type=float seed=1'
# in front of that: slow threads may still be reading the row before
plant no-barrier-before-write norm.cu parallel.h \
    '/value = warp_sum(value)/{n;s/__syncthreads();//}' \
    'shared[threadIdx.x / warp_size] = value' 'sum += shared[w]' \
    'rmsnorm R=531 C=512 eps=1e-5 in_place=no dgamma=yes alpha=0 type=bf16 seed=1'
# the head's gradients in bf16, which lie where the logits were
plant no-barrier-in-place loss.cu loss.cu \
    's/__syncthreads();  \/\/ dz lies where.*//' \
    'if (v < V) four = load<4>(z + v);' 'store(dz + v, result);' \
    'head_loss R=3 C=2 V=257 tuned=no z_loss=0 loss_scale=0 type=bf16 seed=1'
