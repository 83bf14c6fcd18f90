#!/usr/bin/env bash
# gpu/PORTING.md as a test: a directory with one kernel file takes its namesake's place. A copy of the
# CPU's norms passes, the rest being the CPU's own; a copy with a fault in it fails, by name.
set -eu
cd "$(dirname "$0")/.."
port=build/check-port
rm -rf "$port" build/port
mkdir -p "$port"

# A copy instantiates double too, as the CPU's file does; a port's own would not.
sed 's/^INSTANTIATE(double)$//' src/cpu/norm.cpp > "$port/norm.cpp"
make --no-print-directory -s test-port PORT="$port" PORT_CASES=norm

sed -i 's/gamma\[c\] \* a\[c\] \* s;/gamma[c] * a[c] * s * 1.001f;/' "$port/norm.cpp"
if make --no-print-directory -s test-port PORT="$port" PORT_CASES=norm > "$port/log" 2>&1; then
    echo "a faulty RMSNorm in $port was not noticed"
    exit 1
fi
grep -m1 "^rmsnorm.* FAIL$" "$port/log"
