#!/usr/bin/env bash
# The tests as other machines would run them: other instruction sets, other compilers, builds that add
# or round in another order, no OpenMP, aarch64 under qemu. Each has its own folder below ROOT; what
# this machine lacks is skipped by name.
#
#   tests/machines.sh [NAME...]    all of them without a name
#
# In the environment: ROOT where to build (build/machines), PROGRAM=no leaves out the tests that run
# ./train (they are left out under qemu), ONLY=train builds that alone and tests nothing.
set -u
cd "$(dirname "$0")/.."
unset MAKEFLAGS  # of the make that runs this: its jobs are not ours
root=${ROOT:-build/machines}
all="v2 v3 v4 no-simd no-contract vector-128 vector-256 no-openmp g++-11 g++-12 clang++-14 clang++-22 libc++ aarch64"
log=$root/log
mkdir -p "$root"

here() { command -v "$1" > /dev/null; }
# processor WORD...: whether /proc/cpuinfo names each
processor() { for w in "$@"; do grep -qw "$w" /proc/cpuinfo || { missing="this processor has no $w"; return 1; }; done; }
compiler() { here "$1" || { missing="no $1 here (make deps-compilers)"; return 1; }; }

# The settings of a machine: `settings` for make, `run` before a program, `tests` that are chosen.
# Returns 1 where it cannot be had, and says in `missing` what is missing.
describe() {
    settings=() run= tests= missing=
    [ "${PROGRAM:-}" = no ] && tests="~[.]~[program]~[openblas]"  # [.]: hidden tests, which an exclusion alone would let in
    llvm=$PWD/$root/llvm/usr/lib
    local omp=(-L"$llvm/llvm-22/lib" -Wl,-rpath,"$llvm/llvm-22/lib:$llvm/llvm-19/lib")
    case $1 in
    v2) settings=(MARCH=x86-64-v2) && processor sse4_2 ssse3 popcnt ;;
    v3) settings=(MARCH=x86-64-v3) && processor avx2 fma bmi2 ;;
    v4) settings=(MARCH=x86-64-v4) && processor avx512f avx512bw avx512cd avx512dq avx512vl ;;
    # sums in the order in which they are written (-fno-openmp-simd does nothing beside -fopenmp);
    # multiply and add rounded apart; vectors of another width
    no-simd) settings=(CXXFLAGS="-O3 -g1 -fno-tree-loop-vectorize") ;;
    no-contract) settings=(CXXFLAGS="-O3 -g1 -ffp-contract=off") ;;
    vector-*) settings=(CXXFLAGS="-O3 -g1 -mprefer-vector-width=${1#vector-}") && processor avx2 ;;
    no-openmp) settings=(OPENMP=no) ;;
    g++-* | clang++-14) settings=(CXX="$1") && compiler "$1" ;;
    clang++-22 | libc++)
        local flags="-O3 -g1 -isystem $llvm/llvm-22/lib/clang/22/include" libs="${omp[*]}"
        if [ "$1" = libc++ ]; then
            flags="-O3 -g1 -nostdinc++ -isystem $llvm/llvm-22/include/c++/v1 -isystem $llvm/llvm-22/lib/clang/22/include"
            libs="-nostdlib++ $llvm/llvm-22/lib/libc++.a $llvm/llvm-22/lib/libc++abi.a ${omp[*]}"
        fi
        settings=(CXX=clang++-22 CXXFLAGS="$flags" LDFLAGS="$libs")
        compiler clang++-22 && { [ -e "$llvm/llvm-22/lib/libomp.so" ] ||
            { missing="no libomp, libc++ of clang 22 here (make deps-compilers)"; false; }; }
        ;;
    aarch64)
        local arm=$PWD/$root/arm64
        local libs=$arm/usr/lib/aarch64-linux-gnu
        settings=(CXX=aarch64-linux-gnu-g++ MARCH= BLAS_DIR="$libs/openblas-openmp" CXXFLAGS="-O3 -g1 -isystem $arm/usr/include"
            LDFLAGS="-L$libs -Wl,-rpath,$libs -L$arm/lib/aarch64-linux-gnu -Wl,-rpath,$arm/lib/aarch64-linux-gnu")
        run="timeout 1800 qemu-aarch64-static -L /usr/aarch64-linux-gnu"
        # without the four that take two thirds of the time, and two of files that no processor reads in its own way
        tests='~[.]~[program]~[openblas]~"*each option with each placement"~"*all ten placements"'
        tests+='~"every placement learns*"~"same seed and threads*"'
        tests+='~"safetensors: every bit that flips*"~"a config.json that is no model*"'
        here aarch64-linux-gnu-g++ && here qemu-aarch64-static && [ -d "$libs/openblas-openmp" ] ||
            { missing="no cross compiler, qemu or arm64 libraries here (make deps-cross)"; false; }
        ;;
    *) echo "$1: no such machine: choose of $all" >&2; exit 2 ;;
    esac
}

# NAME BUILT RESULT SECONDS: its line of the table at the end
row() { printf '%-12s %-8s %-36s %s\n' "$@" > "$log-$1-row"; }

# The tests of what was built, with the settings of `describe`; FAILED in its row where one does.
run_tests() {
    local name=$1 built=$2 start=$SECONDS
    {
        $run "$build/tests/conformance_cpu" --backend cpu --quiet
        TRAIN=$build/train $run "$build/tests/all" ${tests:+"$tests"}
    } > "$log-$name-tests" 2>&1
    local status=$? conformance cases
    conformance=$(grep -E '^[0-9]+ ok' "$log-$name-tests" || echo "conformance did not end")
    cases=$(grep -E '^(All tests passed|test cases:)' "$log-$name-tests" | tr -s ' ' || echo "tests did not end")
    grep -E '^skipped|skipped:' "$log-$name-tests" | sort | uniq -c
    if [ $status != 0 ] || [[ "$conformance" != *" 0 failed"* ]]; then
        grep -E -B8 -A8 'FAILED|FAIL$' "$log-$name-tests" | head -200
        cases="FAILED: $cases"
    fi
    row "$name" "$built" "$cases; $conformance" "$((SECONDS - start)) s"
}

rm -f "$log"-*-row
names=(${*:-$all})
for name in "${names[@]}"; do
    if ! describe "$name"; then
        echo "skipped: $name ($missing)"
        row "$name" skipped "$missing" ""
        continue
    fi
    build=$root/$name start=$SECONDS
    echo "== $name: ${settings[*]}"
    targets=("$build"/{train,tests/all,tests/conformance_cpu,tests/prescott_shim.so})
    [ -z "${ONLY:-}" ] || targets=("$build/$ONLY")
    if ! make --no-print-directory BUILD="$build" WERROR=-Werror "${settings[@]}" "${targets[@]}" > "$log-$name" 2>&1; then
        tail -20 "$log-$name"
        row "$name" FAILED "see $log-$name" "$((SECONDS - start)) s"
    elif [ -n "${ONLY:-}" ]; then
        row "$name" "$((SECONDS - start)) s" "$ONLY alone" ""
    else
        run_tests "$name" "$((SECONDS - start)) s" &  # beside the next one's build
    fi
done
wait

printf '\n%-12s %-8s %-36s %s\n' machine built "tests; conformance" seconds
for name in "${names[@]}"; do cat "$log-$name-row" || echo "$name FAILED: nothing was told of it"; done | tee "$log-table"
! grep -q FAILED "$log-table"
