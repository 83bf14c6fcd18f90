#!/usr/bin/env bash
# Makes a version's directory of this corpus (README.md) with that version's program.
# usage: tests/checkpoints/make.sh TRAIN DIRECTORY
# shellcheck disable=SC2046,SC2086  # flags are meant to be split
set -eu
train=$(realpath "$1") directory=$2
cache=$(mktemp -d)
trap 'rm -r "$cache"' EXIT
export XDG_CACHE_HOME=$cache # products are measured, by none but this program
help=$("$train" --help)

# The flag, where this version has it.
known() { case $help in *"--${1%% *} "*) echo "--$1" ;; esac; }

small="--size tiny --layers 1 --width 4 --heads 2 --ffn 6 --batch 2 --seq 17 --val-batches 1 --threads 1 --quiet
    --steps 6 --save-every 2 --keep 0 --val-every 2 $(known "probe-every 6")"
# of each kind of number that a checkpoint can hold: moments, master weights, norms and their biases
"$train" $small --lr 0.02 --tune off $(known keep-best) --out "$directory/adamw" > /dev/null
"$train" $small --lr 0.3 --precision bf16 --optimizer sgd --norm input-main --qk-norm head --layernorm --accumulate 2 \
    --out "$directory/sgd-bf16" > /dev/null
case $help in
    *fp16*) "$train" $small --lr 0.02 --precision fp16 --tune off --out "$directory/adamw-fp16" > /dev/null ;;
esac
# What is left is a run that lost its last checkpoints: its rows of steps 3 to 6 are what the next must come to.
for later in "$directory"/*/{step,best}-0000000[46]; do
    [ ! -e "$later" ] || rm -r "$later"
done
rm "$directory"/*/{lock,hidden_variance.csv}
