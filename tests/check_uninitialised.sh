#!/usr/bin/env bash
# A step of a tiny model in each precision under valgrind: nothing that is decided or printed rests on memory
# that was never written. And a fault that is planted, memory of the device not set to zero, is found.
# make check-uninitialised calls this, for a build whose instructions valgrind knows, with
#   $1 the compiler's command   $2 the program's objects   $3 libraries   $4 a folder to work in
set -eu
compile=$1 objects=$2 libraries=$3 folder=$4
mkdir -p "$folder"

# PROGRAM PRECISION: its step; fails where it rests on such memory
step() {
    rm -rf "$folder/run"
    # OpenBLAS and oneDNN choose their kernels by what valgrind says of the processor; with these settings given,
    # the program does not start itself again (src/cpu/libraries.cpp), which valgrind would not follow
    OPENBLAS_CORETYPE=Haswell GOMP_SPINCOUNT=3000 OMP_NUM_THREADS=1 valgrind -q --error-exitcode=99 --track-origins=yes \
        "$1" --size tiny --layers 1 --width 16 --heads 2 --ffn 24 \
        --batch 2 --seq 16 --steps 1 --val-batches 1 --probe-every 1 --tune off --threads 1 \
        --precision "$2" --quiet --out "$folder/run" > "$folder/log" 2>&1
}

$compile $objects $libraries -o "$folder/train"
for precision in fp32 bf16 fp16; do
    step "$folder/train" $precision || { head -60 "$folder/log"; exit 1; }
    echo "$precision: nothing rests on memory that was never written"
done

name='memory of the device is not set to zero'
sed 's/std::memset(memory, 0, bytes);//' src/cpu/device.cpp > "$folder/faulty.cpp"
if cmp -s src/cpu/device.cpp "$folder/faulty.cpp"; then
    echo "$name: src/cpu/device.cpp no longer has the line that $0 changes" >&2
    exit 1
fi
$compile -w -c "$folder/faulty.cpp" -o "$folder/faulty.o"
object=$(printf '%s\n' $objects | grep '/src/cpu/device\.o$')
$compile "$folder/faulty.o" ${objects/"$object"/} $libraries -o "$folder/faulty"
code=0
step "$folder/faulty" fp32 || code=$?
if [ $code != 99 ]; then
    cat "$folder/log"
    echo "$name: NOT FOUND"
    exit 1
fi
echo "$name: found, $(grep -m 1 -o 'Conditional jump.*\|Use of uninit.*' "$folder/log")"
