"""What few bits do to the placements: training in FP16, and numbers rounded to less (Section 7.2,
Figure 11, and what two reviews ask).

(a) ten placements in FP16, (b) without the embedding's part in it, (c) trained models whose states,
outputs or weights are rounded, (d) training with rounded states, (e) channels that stand out.
"""
from dataclasses import replace
from itertools import product
from math import isfinite, log, nan
from statistics import mean

from draw import Curve, Panel, band, dots, figure
from lab import FAST, SCALES, SEEDS, THREE, finished, placements, runs
from measures import FIVE, done, largest, length
from verdict import Claim, alike, failed, interval, judge, loss, pairs, spread, verdict

SECTION = "Few bits"
RAN = "300 steps of 16 x 64 bytes"
RATES = ("2e-3", "8e-3") if FAST else ("2e-3", "8e-3", "6.4e-2")
LOW = RATES[:2]  # at which both learn in FP16
BETWEEN = "3.2e-2"  # of pre and peri alone
SHAPES = {"12 x 128": ("S128", {}), "48 x 64": ("S64", {"layers": 48})}
FORMATS = ("int8", "int8-tensor", "int4", "int4-tensor", "e4m3", "e4m3-sat", "e5m2")
ROUNDED = ("none", *FORMATS, *(f"{format}:{place}" for place in ("outputs", "weights")
                               for format in ("int8", "int4")))
TRAINED = ("int8", "int8-tensor", "int4", "e4m3-sat", "e5m2-sat")
R = "4e-3"
PAIR = ("pre", "peri")
PASSED = 3.5  # where figures have a run that passed 65,504
BOUNDED = ("pre", "mix")  # what no norm bounds: these, as claims.md expects


def in_fp16(norm, rate, shape="12 x 128", seeds=SEEDS, **more):
    scale, flags = SHAPES[shape]
    found = runs(scale, (norm,), (rate,), seeds, precision="fp16", **flags, **more)
    rounded = ROUNDED if shape == "12 x 128" and norm in THREE and rate in LOW and not more else ()
    return [replace(run, watch=25, rounded=rounded) for run in found]


def in_fp32(norm, rate, seeds=SEEDS):
    return runs("S128", (norm,), (rate,), seeds)


def rates(norm, shape="12 x 128"):
    return (*LOW, BETWEEN, *RATES[2:]) if norm in PAIR and shape == "12 x 128" else RATES


# (b): how each embedding is made
ARMS = {"pre, size 1": ("pre", {"embedding_init": "1"}), "pre, norm": ("pre", {"embedding_norm": "on"}),
        "peri, none": ("peri", {"embedding_norm": "off"}), "pre": ("pre", {}), "peri": ("peri", {})}


def arm(name, rate, seeds=SEEDS):
    norm, flags = ARMS[name]
    return in_fp16(norm, rate, seeds=seeds, **flags)


def quantised(norm, format, seeds=FIVE):
    """(d); format None: not rounded."""
    return runs("S64", (norm,), (R,), seeds, **({"fake_quant": format} if format else {}))


def wanted():
    found = []
    for seed in FIVE:
        one = (seed,)
        if seed in SEEDS:
            for norm in (*PAIR, *(n for n in placements() if n not in PAIR)):
                for rate in rates(norm):
                    found += in_fp16(norm, rate, seeds=one)
                    found += in_fp32(norm, rate, one) if norm in PAIR else []
            found += [run for name, rate in product(ARMS, (LOW[-1], RATES[-1]))
                      for run in arm(name, rate, one)]
        found += [run for norm, format in product(PAIR, (None, *TRAINED))
                  for run in quantised(norm, format, one)]
    found += [run for rate in reversed(RATES) for seed in SEEDS for norm in placements()  # last, as they take longest
              for run in in_fp16(norm, rate, "48 x 64", (seed,))]
    return list({run.name: run for run in found}.values())


# ---- what was seen ------------------------------------------------------------------------------

def passes(r):
    """Whether a state of an FP16 run has gone beyond the format at a probe."""
    return any(value > 0 for at in r.probe.get("beyond_fp16", {}).values() for value in at.values())


def inside(r):
    """Whether it was inside of a sub-layer that numbers went beyond: the first state that shows it has lost
    whole tokens, as a norm of infinity leaves them."""
    steps = r.probe.get("beyond_fp16", {})
    lost = [count for _, count in sorted(steps[max(steps)].items()) if count > 0] if steps else []
    width = SCALES[r.row["name"].split()[0]]["width"]
    tokens = lost[0] / width if lost else 0.5  # counts have four digits
    return abs(tokens - round(tokens)) <= 1e-3 * tokens


def trains_at(rate):
    """"`simple` alone trains": the placements all of whose runs neither pass nor fail, in both shapes."""
    made = {norm: [r for shape in SHAPES for r in done(in_fp16(norm, rate, shape))] for norm in placements()}
    fine = [f"`{norm}`" for norm, found in made.items() if found and not any(passes(r) or failed(r) for r in found)]
    return ("none trains" if not fine else f"{fine[0]} alone trains" if len(fine) == 1 else
            f"{', '.join(fine)} train")


def told(made):
    """"3 (1 inside of a sub-layer)": of runs that pass."""
    past = [r for r in made if passes(r)]
    within = sum(map(inside, past))
    return f"{len(past)}{f' ({within} inside of a sub-layer)' if within else ''}"


def rise(format):
    """What rounding so costs a trained model, in nats; what a format does not hold costs as much as
    knowing nothing but frequencies."""
    def of(r):
        plain, rounded = r.rounded.get("none", nan), r.rounded.get(format, nan)
        return (rounded if isfinite(rounded) else max(3.2, plain)) - plain if rounded == rounded else nan
    return of


def log_largest(r):
    value = largest(r)[0]
    return log(value) if isfinite(value) else log(65504)  # it has passed it


def last(r, quantity):
    return max(r.profile(quantity).items(), default=(None, nan))[1]


# ---- figures ------------------------------------------------------------------------------------

def by_placement(shape, rate):
    """A row a placement, a dot a seed."""
    names, curves = placements(), []
    for row, norm in enumerate(names):
        found = [PASSED if passes(r) else loss(r) for r in done(in_fp16(norm, rate, shape))]
        curves.append(Curve("", dots(found, len(names) - row, 0.2), norm, bars=True))
    return Panel(f"{shape}, rate {rate}", "validation loss (nats a byte)", "", curves, rows=names)


def largest_in_training(norm, rate):
    """A line a seed, to the limit where the states themselves pass it."""
    found = []
    for r in done(in_fp16(norm, rate)):
        points = [(step, largest(r, step)[0]) for step in r.steps]
        points = [(step, value) for step, value in points if isfinite(value)]
        points += [(length(r), 65504.0)] if passes(r) and not inside(r) else []
        found.append(Curve("" if found else f"{norm}, {rate}", points, norm, dashed=rate in LOW))
    return found


def by_embedding():
    """(b), a row an arm."""
    sizes, steps = [], []
    for row, (name, (norm, _)) in enumerate(ARMS.items()):
        height = len(ARMS) - row
        sizes.append(Curve("", dots([largest(r)[0] for r in done(arm(name, LOW[-1]))], height), norm, bars=True))
        steps.append(Curve("", dots([length(r) for r in done(arm(name, RATES[-1]))], height), norm, bars=True))
    return [Panel(f"rate {LOW[-1]}, at the end", "largest hidden-state entry", "", sizes, logx=True, rows=tuple(ARMS)),
            Panel(f"rate {RATES[-1]}", "step at which the run ends, by overflow or loss", "", steps, rows=tuple(ARMS))]


def costs_in_training():
    """(d), a row a format."""
    curves = []
    for shift, norm in zip((0.2, -0.2), PAIR):
        points = []
        for row, format in enumerate(TRAINED):
            points += dots(pairs(quantised(norm, format), quantised(norm, None)), len(TRAINED) - row + shift)
        curves.append(Curve(norm, points, norm, bars=True))
    return Panel("12 x 64", "rise of the loss (nats a byte)", "", curves, rows=TRAINED)


def costs(rate):
    """A row a format, a dot a placement."""
    rows, curves = ROUNDED[1:], []
    for shift, norm in zip((0.22, 0, -0.22), THREE):
        points = []
        for row, format in enumerate(rows):
            made = done(in_fp16(norm, rate))
            if found := [max(rise(format)(r), 1e-4) for r in made if not failed(r)]:
                points.append((mean(found), len(rows) - row + shift, min(found), max(found)))
        curves.append(Curve(norm, points, norm, bars=True))
    return Panel(f"rate {rate}", "rise of the loss (nats a byte)", "", curves, logx=True, rows=rows)


def channels(rate):
    def over_depth(norm):
        return band([sorted(r.profile("outlier_kurtosis").items()) for r in done(in_fp16(norm, rate))])
    return Panel(f"rate {rate}, at the end", "hidden state", "kurtosis of its channels",
                 [Curve(norm, over_depth(norm), norm) for norm in THREE], logy=True)


def figures():
    in_training = [by_placement(shape, rate) for shape in SHAPES for rate in RATES]
    curves = sum([largest_in_training(norm, rate) for norm in PAIR for rate in (LOW[-1], RATES[-1])], [])
    limit = [Curve("FP16's limit", [(0, 65504), (300, 65504)], "#999999", True)]
    shown = curves + limit * any(curve.points for curve in curves)
    overflow = Panel("12 x 128", "step", "largest hidden-state entry", shown, logy=True)
    return [(figure("few_bits_fp16", f"Training in FP16: {RAN}", in_training),
             f"Loss of ten placements trained in FP16, a dot a seed; 3.2: it learned nothing, {PASSED:g}: it passed "
             "65,504 and ended."),
            (figure("few_bits_states", f"Hidden states in FP16: {RAN}", [overflow]),
             "The largest hidden-state entry in training, a line a seed. Where one ends early its run has passed 65,504, "
             "in its states or, ahead of a norm, inside of a sub-layer."),
            (figure("few_bits_embedding", f"The embedding's part: 12 x 128 in FP16, {RAN}", by_embedding()),
             "The placement apart from the embedding: Pre-LN with an embedding of size 1 or a norm behind it, Peri-LN "
             "without one, a dot a seed."),
            (figure("few_bits_training", f"Trained with rounded hidden states: {R}, {RAN}", [costs_in_training()]),
             "What it costs to train with hidden states rounded to a format, a dot a seed, against the same seed not "
             "rounded."),
            (figure("few_bits_rounded", f"Trained models, rounded: 12 x 128, {RAN}",
                    [costs(rate) for rate in LOW]),
             "What it costs a trained model to have its hidden states, its sub-layers' outputs or their weights "
             "rounded, without training; 1e-4 and less on the left. Without runs that learned nothing."),
            (figure("few_bits_channels", f"Channels that stand out: 12 x 128, {RAN}",
                    [channels(rate) for rate in LOW]),
             "Mean m^2 / (mean m)^2 of the channels' mean squares m: 1 where all are alike, 128 where one "
             "alone is not 0.")]


def overview():
    """A row a placement and shape: what happens at each rate."""
    rows = []
    for shape, norm in product(SHAPES, placements()):
        cells = []
        for rate in RATES:
            found = done(in_fp16(norm, rate, shape))
            beyond = [length(r) for r in found if passes(r)]
            cells.append("" if not found else
                         f"{told(found)} of {len(found)} pass, at step {min(beyond)} to {max(beyond)}"
                         if beyond else spread([loss(r) for r in found]))
        if any(cells):
            rows.append(f"| {shape} | {norm} | {' | '.join(cells)} |")
    if not rows:
        return []
    return [f"Trained in FP16, {RAN}: loss, or how many runs pass 65,504 and end.\n",
            f"| model | placement | {' | '.join(RATES)} |", "|---|---|" + "---|" * len(RATES), *rows]


# ---- claims -------------------------------------------------------------------------------------

def who(shape):
    either, words = [], []
    for rate in rates("pre", shape):
        by_norm = [{run.seed: passes(r) for run, r in finished(in_fp16(norm, rate, shape))}
                   for norm in PAIR]
        both = [(by_norm[0][s], by_norm[1][s]) for s in SEEDS if all(s in at for at in by_norm)]
        either += [pair for pair in both if any(pair)]
        if both:
            told_of = [told(done(in_fp16(norm, rate, shape))) for norm in PAIR]
            words.append(f"{rate}: Pre-LN {told_of[0]}, Peri-LN {told_of[1]} of {len(both)}")
    if not words:
        return []
    enough = len(either) >= (1 if FAST else 3)
    return [Claim("fp16-who", f"{shape}, FP16, {RAN}", f"passed: {'; '.join(words)}",
                  judge(enough and all(pair == (True, False) for pair in either),
                        enough and all(pair == (False, True) for pair in either)))]


def others(shape):
    counts, all_of = {}, set()
    for norm, rate in product(placements(), RATES):
        found = [passes(r) for r in done(in_fp16(norm, rate, shape))]
        if found:
            counts[norm] = counts.get(norm, 0) + sum(found)
        if len(found) >= len(SEEDS) and all(found):
            all_of.add(norm)
    if set(counts) != set(placements()):
        return []
    seen = ", ".join(f"{norm} {told([r for rate in RATES for r in done(in_fp16(norm, rate, shape))])}"
                     for norm, n in counts.items() if n) or "none"
    rest = [norm for norm in counts if norm not in BOUNDED]
    return [Claim("fp16-others", f"{shape}, FP16, {RAN}", f"runs that pass: {seen}",
                  judge(counts["pre"] >= 3 and not any(counts[norm] for norm in rest),
                        any(norm in all_of for norm in rest)))]


def same_loss(norm, rate):
    away = pairs(in_fp16(norm, rate), in_fp32(norm, rate))
    if len(away) < 2:
        return []
    return [Claim("fp16-loss", f"12 x 128, {RAN}", f"{norm}, {rate}: FP16 less fp32 {interval(away)}",
                  alike(away, 0.01))]


def embedding():
    rate, found = LOW[-1], []
    for title, pre, peri in (("size 1", "pre, size 1", "peri"), ("norm in both", "pre, norm", "peri"),
                             ("norm in neither", "pre", "peri, none")):
        above = pairs(arm(pre, rate), arm(peri, rate), log_largest)
        passed = "; ".join(f"{name} {told(made)} of {len(made)}" for name in (pre, peri)
                           if (made := done(arm(name, RATES[-1]))))
        if len(above) > 1:
            found.append(Claim("fp16-embedding", f"12 x 128, FP16, {rate}, {RAN}",
                               f"{title}: logarithm of the ratio {interval(above)}; passed at "
                               f"{RATES[-1]}: {passed or 'not run'}", verdict(above)))
    return found


def rounding(format, rate):
    less = pairs(in_fp16("pre", rate), in_fp16("peri", rate), rise(format))
    if len(less) < 2:
        return []
    words = "; ".join(f"{norm} {spread([rise(format)(r) for r in done(in_fp16(norm, rate))], '.4f')}"
                      for norm in THREE)
    return [Claim("ptq-peri", f"12 x 128, {rate}, {RAN}",
                  f"{format}: rise {words}; Pre-LN's less Peri-LN's {interval(less, '+.4f')}",
                  verdict(less))]


def tokens(norm, rate):
    found = []
    for format in ("int8", "int4"):
        made = [r for r in done(in_fp16(norm, rate)) if not failed(r)]
        more = [rise(f"{format}-tensor")(r) - rise(format)(r) for r in made]
        if len(more) > 1:
            found.append(Claim("ptq-token", f"12 x 128, {rate}, {RAN}",
                               f"{norm}, {format}: {interval(more, '+.4f')}", verdict(more)))
    return found


def trained(format):
    cost = {norm: pairs(quantised(norm, format), quantised(norm, None)) for norm in PAIR}
    if min(map(len, cost.values())) < 2 or len(cost["pre"]) != len(cost["peri"]):
        return []
    less = [a - b for a, b in zip(cost["pre"], cost["peri"])]
    return [Claim("few-bits-training", f"12 x 64, {R}, {RAN}, seeds 11 to 15",
                  f"{format}: costs Pre-LN {interval(cost['pre'])}, Peri-LN {interval(cost['peri'])}; "
                  f"the one less the other {interval(less)}", verdict(less))]


def outliers(rate):
    above = pairs(in_fp16("pre", rate), in_fp16("peri", rate),
                  lambda r: log(last(r, "outlier_kurtosis")))
    if len(above) < 2:
        return []
    words = "; ".join(f"{norm} kurtosis {spread([last(r, 'outlier_kurtosis') for r in made], '.3g')}, share "
                      f"{spread([last(r, 'outlier_share') for r in made], '.3f')}"
                      for norm in THREE if (made := done(in_fp16(norm, rate))))
    return [Claim("outlier-channels", f"12 x 128, {rate}, {RAN}", words, verdict(above))]


def claims():
    found = sum([who(shape) + others(shape) for shape in SHAPES], [])
    found += sum([same_loss(norm, rate) for norm, rate in product(PAIR, LOW)], [])
    found += embedding()
    found += sum([rounding(format, rate) for format in ("int8", "int8-tensor", "int4", "e4m3-sat")
                  for rate in LOW], [])
    found += sum([tokens(norm, rate) for norm, rate in product(PAIR, LOW)], [])
    found += sum([trained(format) for format in TRAINED], [])
    return found + sum(map(outliers, LOW), [])
