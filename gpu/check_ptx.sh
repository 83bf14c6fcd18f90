#!/usr/bin/env bash
# Static evidence of the kernels' speed: what ptxas says of each (registers, bytes spilled, bytes of static
# shared memory) must be what gpu/registers.txt says, so that a change is seen; and a kernel whose last column
# there says "wide" must read memory by 16 bytes (LDG.E.128, or LDGSTS into shared memory), where cuobjdump is
# there to show it (CUOBJDUMP names another). Run by `make check-ptx`, which makes DIRECTORY/*.cubin and *.log.
#
#   check_ptx.sh DIRECTORY [accept]    accept: what is found becomes the table, its last column kept
set -eu
cd "$(dirname "$0")/.."
directory=$1 table=gpu/registers.txt
cuobjdump=${CUOBJDUMP:-cuobjdump}
version=$(${NVCC:-nvcc} --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
found=$(mktemp) wide=$(mktemp)
trap 'rm -f "$found" "$wide"' EXIT

short_names() {  # of "void peri::(anonymous namespace)::norm_kernel<peri::bf16, 4>(float*)": norm_kernel<bf16,4>
    c++filt | sed 's/(anonymous namespace):://g; s/\bvoid //g; s/peri:://g; s/([^()]*)//g; s/, /,/g'
}

# file, kernel, registers, spilled, shared
for log in "$directory"/*.log; do
    awk -v file="$(basename "$log" .log)" '
        /Function properties for/ { kernel = $NF }
        /spill stores/ { spilled = $5 + $9 }
        /Used [0-9]+ registers/ {
            shared = 0
            for (i = 2; i < NF; i++) if ($(i + 1) == "bytes" && $(i + 2) ~ /smem/) shared = $i
            print file, kernel, $5, spilled, shared
        }' "$log" | short_names
done | LC_ALL=C sort > "$found"

# file and kernel of those that the table calls wide
claimed() { awk '!/^#/ && $6 == "wide" { print $1, $2 }' "$table"; }
columns() { awk '{ printf "%-18s %-52s %9s %8s %7s", $1, $2, $3, $4, $5; print (NF > 5 ? "  " $6 : "") }'; }

if [ "${2:-}" = accept ]; then
    [ -f "$table" ] && claimed > "$wide"
    {
        echo "# What ptxas of CUDA $version says of each kernel for sm_90, and which of them read memory by 16 bytes"
        echo "# (wide). make check-ptx compares; make accept-ptx writes it anew, but for the last column, which is yours."
        echo "#file kernel registers spilled shared loads" | columns
        awk 'FILENAME == ARGV[1] { wide[$1 " " $2]; next } { print $0, ($1 " " $2) in wide ? "wide" : "-" }' \
            "$wide" "$found" | columns
    } > "$table.new"
    mv "$table.new" "$table"
    exit
fi

if ! grep -q "^# What ptxas of CUDA $version says" "$table"; then
    echo "skipped: check-ptx ($table is not of CUDA $version)"
    exit
fi
if ! diff <(grep -v '^#' "$table" | awk '{ print $1, $2, $3, $4, $5 }') "$found"; then
    echo "gpu/registers.txt (<) says otherwise than ptxas (>): make accept-ptx writes it anew" >&2
    exit 1
fi
echo "registers, spills and shared memory of $(wc -l < "$found") kernels are those of $table"

if ! command -v "$cuobjdump" > /dev/null; then
    echo "skipped: 16-byte loads of $(claimed | wc -l) kernels (no cuobjdump here)"
    exit
fi
# file and kernel of those that have such a load
for cubin in "$directory"/*.cubin; do
    "$cuobjdump" -sass "$cubin" | awk -v file="$(basename "$cubin" .cubin)" '
        /Function :/ { kernel = $NF }
        /LDG(STS)?\.E[A-Z.]*\.128/ && !seen[kernel]++ { print file, kernel }' | short_names
done | LC_ALL=C sort > "$wide"
missing=$(comm -23 <(claimed | LC_ALL=C sort) "$wide")
if [ -n "$missing" ]; then
    printf 'wide in gpu/registers.txt, but without LDG.E.128 or LDGSTS:\n%s\n' "$missing" >&2
    exit 1
fi
echo "$(claimed | wc -l) kernels read memory by 16 bytes, as claimed ($(wc -l < "$wide") do)"
