#!/usr/bin/env bash
# Whatever the system answers, nothing is lost: each call of the program on a file fails in turn, in each way
# that such a call can (tests/fault_shim.c), while it trains, resumes, exports, imports and generates; and
# memory ends at each allocation. After each fault the program has ended with one sentence that names the file and
# exit code 2, or with what it makes without faults; and a run that resumes has the bits of one without faults.
# usage: tests/check_faults.sh SHIM [EVERY]   SHIM: tests/fault_shim.c built; EVERY: one call of so many of a kind
#        fails (default 24; 1: all, half an hour); TRAIN names another ./train, OUT another place for the runs, STAGES
#        some of train resume export import generate
# shellcheck disable=SC2086  # flags are meant to be split
set -eu
cd "$(dirname "$0")/.."
shim=$(realpath "$1")
every=${2:-24}
out=${OUT:-build/check-faults}
box=$out/box  # where calls are counted: runs and their data
rm -rf "$out"
mkdir -p "$box"
head -c 20000 README.md > "$box/text.txt"
export GOMP_SPINCOUNT=0 XDG_CACHE_HOME=$PWD/$out/cache

train=${TRAIN:-./train}
# a run too small to take time; one thread, and no choices by time: each call has the same number each time
run="--size tiny --layers 1 --width 8 --heads 2 --ffn 12 --batch 2 --seq 17 --val-batches 1 --keep-best --quiet
    --steps 7 --save-every 2 --val-every 2 --probe-every 4 --keep 2 --tune off --threads 1
    --data $box/text.txt --out $box/run"

# What fails: each stage begins with a copy of what the ones before have left.
stages=${STAGES:-train resume export import generate}
flags_of() {
    case $1 in
        train) echo "$run" ;;
        resume) echo "$run --resume auto" ;;
        export) echo "--export-hf $box/exported --init-from $box/run --threads 1" ;;
        import) echo "--import-hf $box/exported --out $box/imported --threads 1" ;;
        generate) echo "--generate 20 --init-from $box/run --threads 1 --tune off" ;;
    esac
}
begin() {
    rm -rf "$box/run" "$box/exported" "$box/imported"
    case $1 in
        train) ;;
        resume) cp -r "$out/cut" "$box/run" ;;  # two checkpoints, and rows behind them
        import) cp -r "$out/exported" "$box/exported" ;;
        *) cp -r "$out/whole" "$box/run" ;;
    esac
}

# The directory that STAGE makes, all of it or nothing.
made_by() {
    case $1 in export) echo exported ;; import) echo imported ;; esac
}

# shimmed STAGE VARIABLES...: its exit code
shimmed() {
    local stage=$1 code=0
    shift
    timeout 20 env LD_PRELOAD="$shim" FAULT_UNDER="$PWD/$box" "$@" $train $(flags_of "$stage") \
        > "$out/stdout" 2> "$out/stderr" || code=$?
    echo "$code"
}

# Whether STAGE has left what it leaves without faults.
same() {
    case $1 in
        export | import) diff -r "$out/$(made_by "$1")" "$box/$(made_by "$1")" && return ;;
        generate) cmp "$out/generated" "$out/stdout" && return ;;
        *)
            for file in step-00000007/model.safetensors step-00000007/optimizer.safetensors validation.csv \
                probe.csv "$best/model.safetensors" "$best/config.json"; do
                cmp "$out/whole/$file" "$box/run/$file" || return
            done
            cmp <(cut -d, -f1-5 "$out/whole/metrics.csv") <(cut -d, -f1-5 "$box/run/metrics.csv")
            ;;
    esac
}

# ---- without faults -----------------------------------------------------------------------------

begin train
[ "$(shimmed train FAULT_LIST="$out/train.calls")" = 0 ] || { cat "$out/stderr"; exit 1; }
cp -r "$box/run" "$out/whole"
best=$(cd "$out/whole" && printf '%s\n' best-* | tail -1)
# ends before the second row after its second checkpoint
begin train
cut=$(awk '$2 == "write" && $3 ~ /metrics.csv$/ && ++n == 6 { print $1 }' "$out/train.calls")
[ "$(shimmed train FAULT_KIND=exit FAULT_AT="$cut")" = 99 ]
cp -r "$box/run" "$out/cut"
[ -d "$out/cut/step-00000002" ] && [ -d "$out/cut/step-00000004" ]
for stage in resume export import generate; do
    begin $stage
    [ "$(shimmed $stage FAULT_LIST="$out/$stage.calls")" = 0 ] || { cat "$out/stderr"; exit 1; }
    made=$(made_by $stage)
    if [ -n "$made" ]; then cp -r "$box/$made" "$out/$made"; fi
    if [ $stage = generate ]; then cp "$out/stdout" "$out/generated"; fi
    same $stage
done
for stage in $stages; do
    begin $stage
    shimmed $stage FAULT_KIND=new FAULT_LIST="$out/$stage.news" > "$out/code"
done

# ---- which calls fail, and how --------------------------------------------------------------------

# Lines "number kind call path" of STAGE: of each kind of fault and of call the first, and one of EVERY.
faults_of() {
    awk -v every="$every" '
        BEGIN {
            kinds["open"] = "EIO EINTR EACCES EMFILE"
            kinds["create"] = "ENOSPC EIO EINTR EACCES EMFILE full"
            kinds["read"] = "EIO EINTR short"
            kinds["write"] = "ENOSPC EIO EINTR short full"
            kinds["fsync"] = "ENOSPC EIO EINTR"
            kinds["close"] = "ENOSPC EIO EINTR"
            kinds["mkdir"] = "ENOSPC EIO EACCES full"
            kinds["rename"] = "ENOSPC EIO EACCES"
            kinds["remove"] = kinds["stat"] = kinds["mmap"] = "EIO EACCES"
            kinds["seek"] = kinds["readdir"] = kinds["flock"] = "EIO"
            kinds["truncate"] = "EIO EINTR"
        }
        {
            n = split(kinds[$2], list, " ")
            if (!n) { print "no faults for " $2 > "/dev/stderr"; exit 1 }
            for (i = 1; i <= n; i++)
                if (++seen[$2, i] == 1 || (seen[$2, i] + 5 * i) % every == 0) print $1, list[i], $2, $3
        }' "$out/$1.calls"
    # allocations are many: 1000 a stage in the long form
    awk -v every="$every" '{ by = $1 / (every > 1 ? 180 / every : 1000)
        for (n = 1; n <= $1; n += by > 1 ? by : 1) print int(n), "new", "new", "-" }' "$out/$1.news"
}

wrong=0
complain() {
    wrong=$((wrong + 1))
    echo "$what: $*"
    sed 's/^/    /' "$out/stderr" | head -5
}

# One sentence, which names a file, and nothing else but what is passed over.
one_sentence() {
    [ "$(grep -c '^train: ' "$out/stderr")" = 1 ] || return 1
    ! grep -v -e '^train: ' -e '^passed over: ' "$out/stderr" || return 1
    [ "$1" = new ] || grep -q -e "$box" "$out/stderr"
}

# must_resume: a run without faults, after one, goes on from its newest checkpoint and has the same bits.
must_resume() {
    local newest
    newest=$(find "$box/run" -maxdepth 1 -name 'step-*' 2> /dev/null | sort | tail -1)
    if ! $train $(flags_of resume) > "$out/stdout" 2> "$out/stderr"; then complain "cannot be resumed"; return; fi
    if grep -q "passed over" "$out/stderr"; then complain "leaves a damaged checkpoint"; fi
    if [ -n "$newest" ] && ! grep -q "resumed.*$(basename "$newest")" "$out/stdout"; then
        complain "does not go on from $newest"
    fi
    same resume || complain "resumed, it has other bits"
    resumed=$((resumed + 1))
}

# ---- with them ------------------------------------------------------------------------------------

injected=0 resumed=0
declare -A of_kind ended
for stage in $stages; do
    while read -r n kind call path <&3; do
        what="$stage: $kind of call $n, $call ${path#"$PWD/"}"
        begin "$stage"
        code=$(shimmed "$stage" FAULT_KIND="$kind" FAULT_AT="$n")
        injected=$((injected + 1))
        of_kind[$kind]=$((${of_kind[$kind]:-0} + 1))
        ended[$code]=$((${ended[$code]:-0} + 1))
        case $code in
            0)
                same "$stage" || complain "exit code 0, and what it has made differs"
                if [ "$stage" = resume ] && ! grep -q '^resumed' "$out/stdout"; then
                    complain "has begun anew, without a word"
                fi
                ;;
            2)
                # an open that a signal interrupts may be an error: not of a file that is being saved
                case $kind,$call,$path in
                    EINTR,create,*/unfinished/*) complain "is no error" ;;
                    EINTR,open,* | EINTR,create,*) ;;
                    EINTR,* | short,*) complain "is no error" ;;
                esac
                one_sentence "$kind" || complain "is not one sentence that names a file"
                ;;
            124) complain "hangs" ;;
            *) complain "exit code $code" ;;
        esac
        case $stage in
            train | resume) if [ "$code" != 0 ]; then must_resume; fi ;;
            *)
                made=$(made_by "$stage")
                if [ -n "$made" ] && [ "$code" != 0 ] && [ -d "$box/$made" ]; then
                    same "$stage" || complain "leaves half a model"
                    rm -rf "${box:?}/$made"
                fi
                if [ "$code" != 0 ] && [ "$(shimmed "$stage")" != 0 ]; then complain "cannot be done again"; fi
                same "$stage" || complain "done again, it is another"
                ;;
        esac
    done 3< <(faults_of "$stage")
done

echo "calls on files without a fault: $(for stage in $stages; do echo "$stage $(wc -l < "$out/$stage.calls")"; done | paste -sd,)"
echo "$injected faults: $(for k in "${!of_kind[@]}"; do echo "$k ${of_kind[$k]}"; done | sort | paste -sd,)"
echo "exit codes: $(for k in "${!ended[@]}"; do echo "$k: ${ended[$k]}"; done | sort | paste -sd,)"
echo "$resumed runs resumed and compared; $wrong wrong"
[ "$injected" -gt 100 ] || { echo "too few: is $shim loaded?"; exit 1; }
[ "$wrong" = 0 ]
