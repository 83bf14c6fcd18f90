#!/usr/bin/env bash
# Which lines of the readers the fuzzers' inputs run (make fuzz-coverage): prints lines and their share of each
# file and in total.
#   $1 a folder with a program for each target, built for coverage   $2 where earlier runs keep inputs
#   $3... the targets
set -eu
programs=$1 found=$2
shift 2
objects=() profiles=()
for name in "$@"; do
    profile=$programs/$name.profraw
    find "tests/fuzz/corpus/$name" "$found/$name" -type f 2> /dev/null |
        LLVM_PROFILE_FILE=$profile xargs -n 100000 "$programs/$name" -close_fd_mask=3 > "$programs/$name.log" 2>&1 ||
        { cat "$programs/$name.log"; exit 1; }
    objects+=(-object "$programs/$name") profiles+=("$profile")
done
llvm-profdata merge "${profiles[@]}" -o "$programs/all.profdata"
llvm-cov report "${objects[@]}" -instr-profile="$programs/all.profdata" -ignore-filename-regex='^/usr|tests/' |
    awk '$1 ~ /\.(cpp|h)$|^TOTAL$/ { printf "%-28s %5d lines %8s\n", $1, $8, $10 }'
