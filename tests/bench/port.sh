#!/usr/bin/env bash
# Each kernel's milliseconds in a port beside the CPU's, at the sizes of a model's step.
#   $1 the port's conformance program   $2 the CPU's   $3 the sizes   further: families, --type TYPE
set -eu
port=$1 cpu=$2 sizes=$3
shift 3
cases=("$@")
table() { "$1" --time "$sizes" "${cases[@]}" | awk -v who="$2" '
    /type=/ { kernel = $1; for (i = 2; i <= NF; i++) if ($i ~ /^type=/) type = substr($i, 6); n[kernel type]++ }
    /^ *(forward|backward) / { print kernel "." n[kernel type] " " type " " $1, who, $2 }'; }
{ table "$port" port; table "$cpu" cpu; } | awk -v sizes="$sizes" '
    BEGIN { print sizes; printf "%-24s %-6s %-9s %12s %12s %8s\n", "kernel", "type", "", "port ms", "cpu ms", "ratio" }
    { key = $1 " " $2 " " $3; ms[key, $4] = $5; if (!(key in seen)) { seen[key]; order[++count] = key } }
    END { for (i = 1; i <= count; i++) { split(order[i], word, " "); a = ms[order[i], "port"]; b = ms[order[i], "cpu"]
        printf "%-24s %-6s %-9s %12.3f %12.3f %8.2f\n", word[1], word[2], word[3], a, b, a / b } }'
