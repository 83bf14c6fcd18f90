#!/usr/bin/env bash
# gpu/PORTING.md as a test: a directory with one kernel file takes its namesake's place. A copy of the
# CPU's norms passes, the rest being the CPU's own; a copy with a fault in it fails, by name. And nothing
# passes for a port that is not what ran: stale files, misnamed ones, kernels that are missing or there twice.
set -eu
cd "$(dirname "$0")/.."
ports=build/check-port port=build/check-port/a
rm -rf "$ports" build/port/a build/port/b build/port/typo
mkdir -p "$port" "$ports/b" "$ports/other/a"
log=$ports/log

fail() { cat "$log"; echo "check_port: $*"; exit 1; }
run() { make --no-print-directory -s test-port PORT_CASES="${CASES:-rmsnorm}" "$@" > "$log" 2>&1; }
# passes with these words among its lines; fails a case of the suite; is refused before anything runs
passes() { local words=$1; shift; run "$@" || fail "not green: $*"; grep -q "$words" "$log" || fail "no '$words': $*"; }
finds() { ! run "$@" || fail "a faulty RMSNorm was not noticed: $*"; grep -q "^rmsnorm.* FAIL$" "$log" || fail "no case failed: $*"; }
refuses() {
    local words=$1; shift
    ! run "$@" || fail "not refused: $*"
    grep -q "$words" "$log" || fail "no sentence '$words': $*"
    ! grep -q " ok, " "$log" || fail "the suite ran: $*"
}

# A copy instantiates double too, as the CPU's file does; a port's own would not.
sed 's/^INSTANTIATE(double)$//' src/cpu/norm.cpp > "$ports/norm"
plant() { echo '#include "fault.h"'; sed 's/gamma\[c\] \* a\[c\] \* s;/gamma[c] * a[c] * s * FAULT;/' "$ports/norm"; }
cp "$ports/norm" "$port/norm.cpp"
for beside in notes.md notes.txt kernels.cl tile.hpp; do echo "no C++" > "$port/$beside"; done
CASES="norm residual" passes "^norm: $port/norm.cpp, [1-9][0-9]* ok, 0 failed" PORT="$port/"
grep -q "^residual: src/cpu/residual.cpp, .* ok" "$log" || fail "residual is not told to be the CPU's"

# what is no port, or no kernel's file
refuses "typo: there is no such directory" PORT="$ports/typo"
refuses "give the directory" PORT=
touch "$port/join.cpp"
refuses "$port/join.cpp takes no file's place" PORT="$port"
mv "$port/join.cpp" "$port/matmul.cpp" # of src/cpu, but none of the contract's
refuses "$port/matmul.cpp takes no file's place" PORT="$port"
rm "$port/matmul.cpp"

# what is older than an object, in the file's place, in a directory of the same name or of another; what flags say
echo "#define FAULT 1.001f" > "$ports/b/fault.h"
plant > "$ports/b/norm.cpp"
cp "$ports/b"/* "$ports/other/a"
touch -d 2001-01-01 "$ports/b"/* "$ports/other/a"/*
finds PORT="$ports/b"
finds PORT="$ports/other/a"
cp -p "$ports/b/fault.h" "$port" # which only the faulty one reads
passes "^norm: $port/norm.cpp" PORT="$port"
cp -p "$ports/b/norm.cpp" "$port"
finds PORT="$port"
# a header alone, of a file that the other compiler makes; its flags; back again, older
mv "$port/norm.cpp" "$port/norm.cc"
other="-std=c++20 -O1 -fopenmp"
echo "#define FAULT 1" > "$port/fault.h"
passes "^norm: $port/norm.cc" PORT="$port" PORT_FLAGS="$other"
printf '#ifdef WRONG\n#define FAULT 1.001f\n#else\n#define FAULT 1\n#endif\n' > "$port/fault.h"
finds PORT="$port" PORT_FLAGS="$other -DWRONG"
passes "^norm: $port/norm.cc" PORT="$port" PORT_FLAGS="$other"
cp -p "$ports/b/fault.h" "$port/fault.h"
finds PORT="$port" PORT_FLAGS="$other"
# a library's archive of the same name
echo "#define FAULT fault()
float fault();" > "$port/fault.h"
archive() {
    echo "float fault() { return $1; }" | ${CXX:-g++} -x c++ -c - -o "$ports/fault.o"
    ar -rc "$ports/libfault.a" "$ports/fault.o"
}
archive 1
passes "^norm: $port/norm.cc" PORT="$port" PORT_FLAGS="$other" PORT_LIBS="$ports/libfault.a"
archive 1.001f
finds PORT="$port" PORT_FLAGS="$other" PORT_LIBS="$ports/libfault.a"
# a file that was taken away
rm "$port/norm.cc"
passes "^norm: src/cpu/norm.cpp" PORT="$port"

# kernels that are missing, that are there twice, in a helper's file, or as the oracle's double
sed 's/^INSTANTIATE(fp16)$//' "$ports/norm" > "$port/norm.cpp"
refuses "its norm takes the place of src/cpu/norm.cpp and lacks .*rmsnorm_backward<fp16>" PORT="$port"
cp src/cpu/norm.cpp "$port/norm.cpp"
refuses "norm.*<double> is in src/cpu/norm.cpp, $port/norm.cpp, .*: the CPU keeps it" PORT="$port"
sed 's/^INSTANTIATE(double)$//; /^std::string backend_choices()/d' src/cpu/device.cpp > "$port/device.cpp"
cp "$ports/norm" "$port/norm.cpp"
refuses "its device takes the place of src/cpu/device.cpp and lacks backend_choices: " PORT="$port"
grep -q "set_threads is in src/cpu/device.cpp, $port/device.cpp" "$log" || fail "set_threads was linked twice"
rm "$port/device.cpp"
mkdir "$port/help"
sed 's/^template void residual_add(double.*//; s/alpha \* x\[i\] + a/alpha * x[i] - a/' src/cpu/residual.cpp > "$port/help/product.cpp"
refuses "residual_add<.*> is in src/cpu/residual.cpp, $port/help/product.cpp" PORT="$port"
! make --no-print-directory -s train_port PORT="$port" > "$log" 2>&1 || fail "train_port was linked all the same"
echo 'namespace port { float product() { return 1; } }' > "$port/help/product.cpp"
passes "^norm: $port/norm.cpp" PORT="$port"
echo "check_port: every case as it should be"
