#!/usr/bin/env bash
# A reader on any bytes for so many seconds (make fuzz):
#   $1 the program, FOLDER/NAME   $2 seconds; FUZZ_OPTIONS, in the environment, are libFuzzer's
# It starts from tests/fuzz/corpus/NAME and from what earlier runs found, FOLDER/corpus/NAME, to which it adds.
# Prints executions and adds a line to FOLDER/total.csv: date, target, executions, CPU-seconds (make fuzz-total).
set -eu
program=$1 seconds=$2
folder=$(dirname "$program") name=$(basename "$program")
log=$folder/$name.log
mkdir -p "$folder/corpus/$name"
# What is printed goes nowhere. No stacks of allocations, no weighing of inputs by what is rare in them: both
# took a fifth of the time.
set -- -dict=tests/fuzz/words.dict -timeout=10 -rss_limit_mb=4096 -close_fd_mask=3 -entropic=0 \
    -print_final_stats=1 -max_total_time="$seconds" -artifact_prefix="$folder/$name-" \
    ${FUZZ_OPTIONS:-} "$folder/corpus/$name" "tests/fuzz/corpus/$name"
TIMEFORMAT='%U %S'
if ! used=$( { time ASAN_OPTIONS=malloc_context_size=0 "$program" "$@" > "$log" 2>&1; } 2>&1 ); then
    cat "$log"
    # again, with all that it says
    found=$(sed -n 's/.*Test unit written to //p' "$log")
    [ -z "$found" ] || "$program" -timeout=10 "$found" || true
    exit 1
fi
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
used=$(awk '{ print $1 + $2 }' <<< "$used")
echo "$(date +%FT%T),$name,$runs,$used" >> "$folder/total.csv"
awk "BEGIN { printf \"fuzz %-12s %9d executions, %6d a CPU-second\\n\", \"$name\", $runs, $runs / $used }"
