#!/usr/bin/env bash
# Plants a fault in a copy of a source file, links the tests with it in place of the right object, and
# asks that they fail, at the tolerances as they are. Prints which test found it. As many faults are
# looked at side by side as there are processors, each alone in its own copy of the tests.
# make test-faults calls this with
#   $1 the compiler's command   $2 the library's objects   $3 the unit tests'   $4 conformance's
#   $5 libraries   $6 a folder to work in
set -eu
compile=$1 library=$2 unit_objects=$3 conformance_objects=$4 libraries=$5 folder=$6
unset TOLERANCE
planted=0

# PROGRAM SELECTION LOG: what failed first, nothing if nothing did
first_failure() {
    local program=$1 selection=$2 log=$3
    if [[ $program = *unit ]]; then
        if "$program" -a -r xml "$selection" > "$log" 2> /dev/null; then
            grep -q '<TestCase' "$log" || echo "no test is called $selection"
            return
        fi
        sed -n 's/.*<TestCase name="\([^"]*\)".*/\1/p' "$log" | tail -1 | grep . || echo "it crashed"
    else
        "$program" --quiet $selection > "$log" 2>&1 && return
        grep -m 1 FAIL "$log" || echo "it crashed"
    fi
}

# NAME SOURCE, an expression for sed, and what looks first: unit or conformance, and its selection. A line
# that is no longer there, or a test that fails without the fault, is no fault found.
look() {
    local name=$1 source=$2 edit=$3 kind=$4 selection=$5
    local at="$folder/${name//[^A-Za-z0-9]/-}" object objects
    mkdir -p "$at"
    sed "$edit" "src/$source" > "$at/faulty.cpp"
    if cmp -s "src/$source" "$at/faulty.cpp"; then
        echo "NOT FOUND: src/$source no longer has the line that $0 changes"
        return
    fi
    first_failure "$folder/$kind" "$selection" "$at/log" | sed "s/^/NOT FOUND: without the fault fails /" | grep . && return
    object=$(printf '%s\n' $library | grep "/src/${source%.cpp}\.o$")
    objects=$unit_objects
    [ "$kind" = unit ] || objects=$conformance_objects
    if $compile -w -c "$at/faulty.cpp" -o "$at/faulty.o" &&
        $compile $objects "$at/faulty.o" ${library/"$object"/} $libraries -o "$at/$kind"; then
        first_failure "$at/$kind" "$selection" "$at/log" | grep . || echo "NOT FOUND"
    else
        echo "NOT FOUND: it does not compile"
    fi
    rm -f "$at/$kind"
}

plant() {
    planted=$((planted + 1))
    while [ "$(jobs -r | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
    { found=$(look "$@") || true; printf '%-46s %s\n' "$1" "${found:-NOT FOUND: nothing was told}" | tee -a "$folder/found"; } &
}

mkdir -p "$folder"
rm -f "$folder/found"
$compile $unit_objects $library $libraries -o "$folder/unit"
$compile $conformance_objects $library $libraries -o "$folder/conformance"

plant 'RMSNorm backward: a term dropped' cpu/norm.cpp \
    's/ - a\[c\] \* along;/;/' unit '[norm]'
plant 'RMSNorm: eps outside of the root' cpu/norm.cpp \
    's|reciprocal_root(ms + eps)|1 / (std::sqrt(ms) + eps)|' unit '[norm]'
plant 'SwiGLU backward: 1.001 for 1' cpu/activation.cpp \
    's/(1 + g \* (1 - s))/(Accum<Real>(1.001) + g * (1 - s))/' unit '[activation]'
plant 'bias: the gradient forgets the last row' cpu/linear.cpp \
    '/parallel_ranges(O/,/});/s/r < R;/r < R - 1;/' unit '[linear]'
plant 'sum of squares: float for double' cpu/optimizer.cpp \
    's/double s = 0;/float s = 0;/' unit '[optimizer]'
plant 'RoPE backward: the sign' cpu/rope.cpp \
    '/rotate<Real>(dx, dy/s/-1)/1)/' unit '[rope]'
plant 'causal mask: one key too many' cpu/attention.cpp \
    's/s.first + t.q0 + i + 1 - k0, block/s.first + t.q0 + i + 2 - k0, block/' unit '[attention]'
plant 'sub-layer backward: alpha forgotten' model.cpp \
    '/::sublayer_backward/,/^}/s/has.alpha/1/' \
    unit 'gradient of the whole model\, all ten placements'
plant "an output norm's gradient added twice" model.cpp \
    '/::sublayer_backward/,/^}/{/if (has.output_norm)$/{N;s/\n *\(norm_backward(.*);\)/ { \1 \1 }/}}' \
    unit 'gradient of the whole model\, all ten placements'
plant 'the same two, by the model in one file: alpha' model.cpp \
    '/::sublayer_backward/,/^}/s/has.alpha/1/' unit 'reference: the same loss and gradients'
plant 'and the gradient added twice' model.cpp \
    '/::sublayer_backward/,/^}/{/if (has.output_norm)$/{N;s/\n *\(norm_backward(.*);\)/ { \1 \1 }/}}' \
    unit 'reference: the same loss and gradients'
plant 'keys: Dx::overwrite for Dx::add' model.cpp \
    's/act_.d_k, x_tilde, ids.k, Dx::add/act_.d_k, x_tilde, ids.k, Dx::overwrite/' \
    unit 'gradient of the whole model\, all ten placements'
plant 'AdamW: bias correction of the step before' cpu/optimizer.cpp \
    's/std::pow(settings.beta\([12]\), settings.step)/std::pow(settings.beta\1, settings.step - 1)/' \
    unit '[optimizer]'
plant 'AdamW: eps forgotten, in float alone' cpu/optimizer.cpp \
    's/ + eps);/ + (sizeof(A) == sizeof(float) ? 0 : eps));/' conformance adamw
plant 'z-loss: factor 1 for 2' cpu/loss.cpp 's/1 + 2 \* z_loss/1 + z_loss/' unit '[loss]'
plant 'loss: divided by the rows' cpu/loss.cpp 's|scale / divisor|scale / R|' unit '[loss]'
plant 'softmax: off by 1e-5, in float alone' cpu/loss.cpp \
    's|p_factor \* scale / sum;|p_factor * scale / sum * A(sizeof(A) == sizeof(float) ? 1.00001 : 1);|' \
    conformance head_loss
plant 'loss scale: an update that is not unscaled' cpu/optimizer.cpp \
    's/clip \* unscale/clip/' conformance loss_scale
plant 'loss scale: a skipped step moves moments' cpu/optimizer.cpp \
    's/if (s == 0) return;//' conformance skipped_step
plant 'fp16: saturation in place of infinity' cpu/residual.cpp \
    's/y\[i\] = /y[i] = sizeof(Real) == 2 \&\& alpha * x[i] + a[i] > 65504 ? 65504 : /' conformance residual_overflow
plant 'few bits: a row takes the step of the one before, in float alone' cpu/few_bits.cpp \
    's/largest\[one_step(format) ? R : r\]/largest[one_step(format) ? R : sizeof(Real) == 4 \&\& r > 0 ? r - 1 : r]/' \
    conformance quantise
plant 'few bits: backward by the matrices that were not rounded' model.cpp \
    '/::project_backward/,/^}/s/rounded(id)/matrix(id)/' unit 'few bits: rounded weights are weights'
plant 'few bits: the embedding keeps its bits' model.cpp \
    's/round_to(config_.fake_quant.hidden, act_.x0);//' unit 'few bits: every hidden state is of the format'
wait
rm -f "$folder/unit" "$folder/conformance"
found=$(grep -vc ' NOT FOUND' "$folder/found") || true
[ "$found" = $planted ] || { echo "$((planted - found)) faults were not found"; exit 1; }
