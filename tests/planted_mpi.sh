#!/usr/bin/env bash
# Plants faults in what processes say to each other, one at a time, and asks that the bits of two
# processes are then not those of one, or that the run ends with an error. make check-mpi calls this with
#   $1 the compiler's command   $2 train_mpi's objects   $3 libraries   $4 a folder to work in
#   $5 train_sim_mpi's objects
set -eu
compile=$1 objects=$2 libraries=$3 folder=$4 simulated=$5
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm=isolated
flags="--size tiny --layers 2 --width 64 --heads 2 --ffn 900 --seq 17 --val-batches 1 --quiet --tune=off --threads 1
    --reproducible --batch 2 --accumulate 4 --steps 10 --patience 20"
missed=0
rm -rf "$folder"
mkdir -p "$folder"

# run PROGRAM N NAME: what two files of the run are made of, or why it ended
run() {
    # shellcheck disable=SC2086  # flags are meant to be split
    timeout 300 mpirun --oversubscribe -n "$2" "$1" $flags --out "$folder/$3" > "$folder/$3.log" 2>&1 ||
        { echo "ended with an error"; return; }
    cut -d, -f1-5 "$folder/$3/metrics.csv" | cat - "$folder/$3"/step-*/*.safetensors | sha256sum
}

# NAME SOURCE, an expression for sed
plant() {
    local name=$1 source=$2 edit=$3 object found
    local at="$folder/${name//[^A-Za-z0-9]/-}"
    mkdir -p "$at"
    sed "$edit" "src/$source" > "$at/faulty.cpp"
    ! cmp -s "src/$source" "$at/faulty.cpp" ||
        { echo "$name: src/$source no longer has the line that $0 changes" >&2; exit 1; }
    object=$(printf '%s\n' $objects | grep "$(realpath -m --relative-to=. "src/${source%.cpp}")\.o$")
    $compile -w -c "$at/faulty.cpp" -o "$at/faulty.o"
    $compile "$at/faulty.o" ${objects/"$object"/} $libraries -o "$at/train_mpi"
    found=$(run "$at/train_mpi" 2 "${at##*/}-run")
    if [ "$found" = "$whole" ]; then
        found="NOT FOUND"
        missed=$((missed + 1))
    elif [ "$found" != "ended with an error" ]; then
        found="other bits"
    fi
    printf '%-46s %s\n' "$name" "$found"
}

whole=$(run ./train_mpi 1 one)
[ "$(run ./train_mpi 2 two)" = "$whole" ] || { echo "without a fault two processes have other bits" >&2; exit 1; }
plant 'gradients are not added up' optimizer.cpp 's/comm::reduce_scatter<Real>(.*);//'
plant 'the norm of one piece alone' optimizer.cpp '/::find_norm/,/^}/s/comm::all_gather<Real>(.*);//'
plant 'weights are not handed on' optimizer.cpp '/::share_weights/,/^}/s/comm::all_gather<Real>(.*);//'
plant 'the pieces of two processes swapped' comm/collectives.cpp \
    '/^void all_gather/,/^}/s/pieces->receive(r, bytes + bounds\[r\],/pieces->receive(r, bytes + bounds[me],/'
plant 'sums that are read before they arrive' comm/collectives.cpp '/^void reduce_scatter/,/^}/s/parts->wait();//'
plant 'the sum left where the tree ends' comm/collectives.cpp \
    '/^void reduce_scatter/,/^}/s/i == 0 \&\& j == half ? own : part(i)/part(i)/'
plant 'the loss of one process alone' ../train.cpp 's/comm::sum(own_loss)/own_loss/'
plant "one process's targets for all" ../train.cpp 's/comm::sum(target_count(batch))/target_count(batch) * 1.0/'

# two simulated GPUs
objects=$simulated
compile="$compile -Igpu -Igpu/sim -Igpu/sim/nccl"
flags="--size tiny --layers 1 --width 64 --heads 2 --ffn 900 --seq 9 --val-every 0 --val-batches 1 --probe-every 0
    --quiet --reproducible --batch 1 --accumulate 2 --steps 2 --patience 150"
whole=$(run ./train_sim_mpi 1 gpu)
[ "$(run ./train_sim_mpi 2 gpus)" = "$whole" ] || { echo "without a fault two GPUs have other bits" >&2; exit 1; }
plant 'transfers on a stream that nobody waits for' comm/nccl.cpp 's/communicator(), stream())/communicator(), nullptr)/'
plant 'all GPUs talk to the first' comm/nccl.cpp 's/ncclInt8, to,/ncclInt8, 0 * to,/'
[ $missed = 0 ] || { echo "$missed faults were not found"; exit 1; }
