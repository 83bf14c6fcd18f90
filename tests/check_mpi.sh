#!/usr/bin/env bash
# Several processes train one model: the collectives' promises; losses near those of one process; the
# same bits for 1, 2 and 4 (--reproducible), killed and resumed with other numbers of processes as well;
# what each fault ends with; and two processes with a simulated GPU each.
# usage: tests/check_mpi.sh COLLECTIVES [KILLS]   COLLECTIVES: tests/mpi/collectives built, and beside it
#                                                 collectives_sim
# shellcheck disable=SC2086  # flags are meant to be split
set -eu
cd "$(dirname "$0")/.."
collectives=$1 kills=${2:-6}
out=build/check-mpi
rm -rf "$out"
mkdir -p "$out"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm=isolated # in a container, without ssh
export OMPI_MCA_btl_vader_single_copy_mechanism=none XDG_CACHE_HOME=$PWD/$out/cache
small="--size tiny --layers 2 --width 16 --heads 2 --ffn 24 --seq 17 --val-batches 1 --quiet --tune=off --threads 1" # "--tune off" mpirun takes for its own

fail() {
    echo "$*" >&2
    exit 1
}
mpi() {
    local n=$1
    shift
    timeout 300 mpirun --oversubscribe -n "$n" "$@"
}
# train N NAME FLAGS...: a run of N processes in $out/NAME
train() {
    local n=$1 name=$2
    shift 2
    mpi "$n" ./train_mpi $small --out "$out/$name" "$@" > "$out/$name.log" 2>&1
}

# ---- collectives --------------------------------------------------------------------------------

for n in 1 2 3 4; do mpi $n "$collectives"; done
for n in 1 2 3; do mpi $n "${collectives}_sim"; done

# ---- losses of n processes beside those of one --------------------------------------------------

for norm in $(./train --norm list | cut -d' ' -f1); do
    for n in 1 2 3 4; do train $n "near-$norm-$n" --norm "$norm" --batch 12 --steps 20 || fail "$norm $n: $(tail -2 "$out/near-$norm-$n.log")"; done
    ./train $small --norm "$norm" --batch 12 --steps 20 --out "$out/near-$norm-0" > "$out/near-$norm-0.log"
    cmp <(cut -d, -f1-5 "$out/near-$norm-0/metrics.csv") <(cut -d, -f1-5 "$out/near-$norm-1/metrics.csv")
    for n in 2 3 4; do # 20 steps of sums in another order
        paste <(cut -d, -f3 "$out/near-$norm-0/metrics.csv") <(cut -d, -f3 "$out/near-$norm-$n/metrics.csv") |
            awk -v name="$norm, $n processes" 'NR > 1 { d = $1 - $2; if (!(d < 2e-4 && d > -2e-4)) far = 1; rows++ }
                END { if (far || rows != 20) { print name ": losses differ"; exit 1 } }'
    done
done
echo "ten placements, 20 steps of 1, 2, 3, 4 processes: the losses of one to 2e-4"

# ---- the oracle beside them, and the other job that they share ----------------------------------

for n in 2 3; do
    for precision in fp32 bf16; do
        train $n "check-$precision-$n" --batch 6 --width 64 --ffn 900 --check 3 --precision $precision ||
            fail "check: $(tail -2 "$out/check-$precision-$n.log")"
    done
    mpi $n ./train_mpi $small --evaluate --init-from "$out/near-peri-0" | cmp - <(./train $small --evaluate --init-from "$out/near-peri-0")
done
echo "--check of 2 and 3 processes: no difference, and the same weights on all; --evaluate: as one process"

# ---- the same bits ------------------------------------------------------------------------------

# same A B: weights, moments, measurements and, but for the times, metrics
same() {
    local a=$out/$1 b=$out/$2 last
    last=$(basename "$(ls -d "$a"/step-* | tail -1)")
    for file in "$last/model.safetensors" "$last/optimizer.safetensors" validation.csv probe.csv; do
        cmp "$a/$file" "$b/$file" || fail "$1 and $2 differ"
    done
    cmp <(cut -d, -f1-5 "$a/metrics.csv") <(cut -d, -f1-5 "$b/metrics.csv") || fail "$1 and $2 differ"
}
tree="--reproducible --batch 2 --accumulate 8 --width 32 --ffn 900 --steps 200 --save-every 50 --val-every 50 --probe-every 50"
for precision in fp32 bf16; do
    for n in 1 2 4; do train $n "bits-$precision-$n" $tree --precision $precision; done
    ./train $small $tree --precision $precision --out "$out/bits-$precision-0" > "$out/bits-$precision-0.log"
    for n in 1 2 4; do same "bits-$precision-0" "bits-$precision-$n"; done
done
train 2 again $tree && same bits-fp32-2 again
echo "--reproducible, 200 steps, fp32 and bf16: 1, 2 and 4 processes have the bits of ./train"

# ---- killed and resumed with another number of processes ----------------------------------------

RANDOM=7
killed=0 tries=0
while [ "$killed" -lt "$kills" ] && [ "$tries" -lt $((10 * kills)) ]; do
    tries=$((tries + 1))
    n=$((1 << RANDOM % 3))
    train $n killed $tree --resume auto &
    sleep "1.$((RANDOM % 10))"
    victims=$(pgrep -f "^\./train_mpi .*--out $out/killed" | shuf -n 1 --random-source=<(yes $RANDOM)) || true
    if [ -n "$victims" ] && kill -9 $victims; then killed=$((killed + 1)); fi
    if wait $!; then rm -rf "$out/killed"; fi # it had ended
done 2> /dev/null
train 4 killed $tree --resume auto
same bits-fp32-0 killed
echo "a process killed $killed times, resumed with 1, 2 or 4 of them: the same bits"

# A checkpoint whose last number, which the second process alone reads, is not what it was: both pass it over.
cp -r "$out/again" "$out/damaged"
state=$out/damaged/step-00000200/optimizer.safetensors
printf '\377' | dd of="$state" bs=1 seek=$(($(stat -c %s "$state") - 1)) conv=notrunc status=none
train 2 damaged $tree --resume auto || fail "damaged: $(tail -2 "$out/damaged.log")"
grep -q "passed over: .*step-00000200" "$out/damaged.log" || fail "damaged: $(cat "$out/damaged.log")"
same bits-fp32-0 damaged
echo "a checkpoint that one of two processes finds damaged: both go on from the one before"

# ---- faults -------------------------------------------------------------------------------------

long="--batch 12 --steps 1000000 --save-every 0 --val-every 0 --probe-every 0"
# ends_within SECONDS NAME PID: waits for it, and that no process is left; the exit code is in $code
ends_within() {
    local seconds=$1 name=$2 pid=$3 start=$SECONDS
    while kill -0 "$pid" 2> /dev/null; do
        [ $((SECONDS - start)) -le "$seconds" ] || fail "$name: goes on after $seconds s"
        sleep 0.2
    done
    code=0
    wait "$pid" || code=$?
    sleep 1
    ! pgrep -f "^\./train_mpi .*--out $out/$name" > /dev/null || fail "$name: a process is left"
}
background() {
    local n=$1 name=$2
    shift 2
    mpirun --oversubscribe -n "$n" ./train_mpi $small $long --out "$out/$name" "$@" > "$out/$name.log" 2>&1 &
    pid=$!
    for _ in $(seq 600); do
        [ "$({ wc -l < "$out/$name/metrics.csv"; } 2> /dev/null || echo 0)" -gt 3 ] && return
        sleep 0.1
    done
    fail "$name: does not start: $(tail -3 "$out/$name.log")"
}
# rank R of the run NAME
rank() { pgrep -f "^\./train_mpi .*--out $out/$2" | sort -n | sed -n "$(($1 + 1))p"; }

background 2 stopped --patience 8
kill -STOP "$(rank 1 stopped)"
ends_within 60 stopped $pid
grep -q "rank 1 has not answered for 8 s" "$out/stopped.log" || fail "stopped: $(cat "$out/stopped.log")"
[ $code != 0 ] || fail "stopped: exit code 0"

background 2 interrupted
kill -INT "$(rank 1 interrupted)"
ends_within 60 interrupted $pid
grep -q "^interrupted after step" "$out/interrupted.log" || fail "interrupted: $(cat "$out/interrupted.log")"
[ "$(ls -d "$out"/interrupted/step-* | wc -l)" = 1 ] || fail "interrupted: no checkpoint"
[ $code = 130 ] || fail "interrupted: exit code $code"

background 2 launcher # SIGTERM to mpirun, which hands it on
kill -TERM $pid
ends_within 60 launcher $pid
grep -q "^interrupted after step" "$out/launcher.log" || fail "launcher: $(cat "$out/launcher.log")"
[ "$(ls -d "$out"/launcher/step-* | wc -l)" = 1 ] || fail "launcher: no checkpoint"

background 3 dead
kill -9 "$(rank 2 dead)"
ends_within 60 dead $pid
grep -q "rank 2" "$out/dead.log" || fail "dead: $(cat "$out/dead.log")"
[ $code != 0 ] || fail "dead: exit code 0"

# a disk that fills up: the directory of the first process cannot take a checkpoint
code=0
mpi 2 bash -c "trap '' XFSZ; ulimit -f 200; exec ./train_mpi $small --batch 4 --steps 5 --save-every 2 --width 64 --ffn 400 --out $out/full" > "$out/full.log" 2>&1 || code=$?
[ $code != 0 ] || fail "full: exit code 0"
[ "$(grep -c "^train_mpi: " "$out/full.log")" = 1 ] || fail "full: $(cat "$out/full.log")"

# one process that has less memory than the model needs
code=0
mpi 1 ./train_mpi $small --batch 4 --steps 5 --width 1024 --layers 16 --out "$out/poor" : \
    -n 1 bash -c "ulimit -v 1200000; exec ./train_mpi $small --batch 4 --steps 5 --width 1024 --layers 16 --out $out/poor" > "$out/poor.log" 2>&1 || code=$?
[ $code != 0 ] || fail "poor: exit code 0"
[ "$(grep -c "^train_mpi: " "$out/poor.log")" = 1 ] || fail "poor: $(cat "$out/poor.log")"

code=0
mpi 1 ./train_mpi $small --batch 4 --steps 5 --out "$out/other" : -n 1 ./train_mpi $small --batch 4 --steps 6 --out "$out/other" > "$out/other.log" 2>&1 || code=$?
grep -q "process 1 has another settings" "$out/other.log" || fail "other: $(cat "$out/other.log")"
[ "$(grep -c "^train_mpi: " "$out/other.log")" = 1 ] || fail "other: said more than once: $(cat "$out/other.log")"

# --evaluate of files that have one name and different lengths
for n in 900 4000; do mkdir -p "$out/$n" && head -c $n README.md > "$out/$n/text.txt"; done
evaluate="$PWD/train_mpi $small --evaluate --init-from $PWD/$out/near-peri-0 --data text.txt"
mpi 1 -wdir "$PWD/$out/900" $evaluate : -n 1 -wdir "$PWD/$out/4000" $evaluate > "$out/lengths.log" 2>&1 || true
grep -q "process 1 has another data" "$out/lengths.log" || fail "lengths: $(cat "$out/lengths.log")"

code=0
train 3 uneven --batch 4 --steps 5 || code=$?
[ "$(grep -c "^train_mpi: .*3 processes cannot share equally" "$out/uneven.log")" = 1 ] || fail "uneven: $(cat "$out/uneven.log")"
echo "stopped, interrupted, killed, disk full, no memory, other settings, uneven: each ends with its sentence"

# ---- a simulated GPU each -----------------------------------------------------------------------

gpu="--size tiny --batch 2 --seq 17 --steps 20 --val-every 0 --val-batches 1 --probe-every 0 --quiet --tune=off"
./train $gpu --out "$out/cpu" > "$out/cpu.log"
mpi 2 ./train_sim_mpi $gpu --out "$out/gpus" > "$out/gpus.log" 2>&1 || fail "gpus: $(tail -3 "$out/gpus.log")"
paste <(cut -d, -f3 "$out/cpu/metrics.csv") <(cut -d, -f3 "$out/gpus/metrics.csv") | awk '
    NR > 1 { rows++; d = $1 - $2; if (d < 0) d = -d; if (!(d <= 1e-4)) far = 1; if (d > most) most = d }
    END { printf "two simulated GPUs, 20 steps of tiny: the losses of the CPU to %.1g\n", most; exit far || rows != 20 }'
