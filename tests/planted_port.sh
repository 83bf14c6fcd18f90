#!/usr/bin/env bash
# Plants one fault at a time in a copy of a port's kernels of OpenCL, links the suite with it in place of the right
# object, and asks that it fails. make test-faults-opencl calls this with
#   $1 the port   $2 the suite's objects   $3 libraries   $4 a folder to work in   $COMPILE the compiler's command
set -eu
port=$1 objects=$2 libraries=$3 folder=$4 compile=$COMPILE
missed=0

# NAME FILE, an expression for sed, the cases that look
plant() {
    local name=$1 file=$2 edit=$3 cases=$4 object found
    rm -rf "$folder/port"
    mkdir -p "$folder"
    cp -r "$port" "$folder/port"
    sed -i "$edit" "$folder/port/$file.cl"
    if cmp -s "$port/$file.cl" "$folder/port/$file.cl"; then
        echo "$name: $port/$file.cl no longer has the line that $0 changes" >&2
        exit 1
    fi
    object=$(printf '%s\n' $objects | grep "/$file\.cpp\.o$")
    # the right one is compiled as the Makefile did but for the folder from which the .cl file is taken
    eval "${compile//"$(realpath "$port")"/"$(realpath "$folder/port")"} -c '$port/$file.cpp' -o '$folder/faulty.o'"
    eval "$compile ${objects/"$object"/"$folder/faulty.o"} $libraries -o '$folder/conformance'"
    if "$folder/conformance" --quiet $cases > "$folder/log" 2>&1; then
        found="NOT FOUND" missed=$((missed + 1))
    else
        found=$(grep -m 1 FAIL "$folder/log" || echo "it crashed: $(tail -1 "$folder/log")")
    fi
    printf '%-44s %s\n' "$name" "$found"
}

plant 'RMSNorm: rows of 64 packs only' norm '0,/c < C; c += STRIDE/s//c < min(C, 512); c += STRIDE/' rmsnorm
plant 'RMSNorm backward: a term dropped' norm 's/ + s \* g \* d - a \* along,/ + s * g * d,/' rmsnorm
plant 'LayerNorm backward: a wrong sign' norm 's/ - a \* dot_all/ + a * dot_all/' layernorm
plant 'dgamma: the last part forgotten' norm 's/part < parts; part++/part < parts - 1; part++/' rmsnorm
plant 'bias: the last column forgotten' linear 's/o < O; o += STRIDE/o < O - 1; o += STRIDE/' linear
plant 'product: what was there is added' help/product 's/add ? load/!add ? load/' linear
plant 'product: the last rows of a tile' help/product 's/i < min(ROWS, M - m0)/i < min(ROWS - 1, M - m0)/' linear
plant 'dbias: overwritten' linear 's/load_floats(dbias + o, O - o) + sum/sum/' linear
plant 'rope: turned the other way' rope 's/a \* c - b \* s/a * c + b * s/' rope
plant 'attention: one key too many' attention 's/end = s.first + i.t + 1;/end = s.first + i.t + 2;/' attention
plant 'attention: documents are not told apart' attention 's/return document ? .*/return 0;/' attention
plant 'attention: sums under an old maximum' attention 's/sum = sum \* shrink + /sum = sum + /' attention
plant 'attention backward: no delta' attention '0,/ - delta\[row\]/s///' attention
plant 'attention backward: heads of a group' attention 's/h < (kv + 1) \* heads/h <= kv * heads/' attention
plant 'SwiGLU backward: a term dropped' activation 's/ \* (1 + g \* (1 - s))//' activation
plant 'ReLU: NaN is hidden' activation 's/select(a, (pack)0, a < 0)/fmax(a, (pack)0)/' activation
plant 'embedding: one row a token' embedding 's/j < R \&\& tokens/j < i + 1 \&\& tokens/' embedding
plant 'residual: the factor at the other term' residual 's/alpha \* load(x + i, n - i) + load/load(x + i, n - i) + alpha * load/' residual
plant 'few_bits: a tie rounded up' few_bits 's/(1 << (dropped - 1)) - 1 + (significand >> dropped \& 1)/(1 << (dropped - 1))/; s/((upack)1 << (dropped - 1)) - 1 + (significand >> dropped \& 1)/((upack)1 << (dropped - 1))/' few_bits
plant 'loss: the target is not taken off' loss 's/ - one_at(target - v)//' loss
plant 'loss: z-loss of the largest logit alone' loss 's/(log(sum) + most)/most/' loss
plant 'AdamW: decay of the direction' optimizer 's/direction + decay \* old/direction - decay * old/' optimizer
plant 'sum_of_squares: the last number forgotten' optimizer 's/min(begin + block, (size_t)n)/min(begin + block, (size_t)n - 1)/' optimizer
plant 'sum_of_squares: units of a quarter' optimizer 's/2 \* (largest - 150)/2 * (largest - 151)/' optimizer
[ $missed = 0 ] || { echo "$missed of them were not found"; exit 1; }
