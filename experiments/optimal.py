"""Training long enough to count: 20 bytes a parameter, none of them twice (Table 1 at our size)."""
from dataclasses import replace
from math import log, log2, sqrt
from statistics import linear_regression, mean

from causes import missing
from draw import Curve, Panel, band, figure
from lab import SCALES, SEEDS, finished, parameters, runs
from measures import done, smooth, widened
from verdict import CONTRADICTED, SHOWN, Claim, interval, judge, loss, pairs, verdict

SECTION = "Training long enough"
RAN = "20 bytes a parameter, each at its best rate"
LADDER = ("5e-4", "1e-3", "2e-3", "4e-3", "8e-3", "1.6e-2", "3.2e-2", "6.4e-2", "1.28e-1")
PAIR = [(norm, which) for norm in ("pre", "peri") for which in ("off", "on")]
ARMS = [*PAIR, ("olmo2", "off"), ("olmo2", "on"), ("post", "off"), ("keel", "off"), ("simple", "off")]
WIDTHS = (64, 32, 48, 24, 96)  # in the order in which they are made
TOLD = (("pre", "off"), ("peri", "on"))  # the lead as it is usually told
BYTES = {1: 312, 5: 1560, 20: 6240, 100: 31200}  # a parameter: steps at 12 x 64
FIRST = SEEDS[:1]          # the seed that chooses rates


def runs_of(arm, rate, width=64, seeds=SEEDS):
    norm, embedding = arm
    flags = {"init": f"normal:{0.64 / sqrt(width):.4g}"}
    if embedding != ("on" if norm == "peri" else "off"):
        flags["embedding_norm"] = embedding
    return runs(f"C{width}", (norm,), (rate,), seeds, **flags)


def grid(arm, width=64):
    """Three rates, and more wherever the first seed's loss is lowest at an end."""
    def of_first(rate):
        made = done(runs_of(arm, rate, width, FIRST))
        return loss(made[0]) if made else None
    return widened(LADDER, 2, 5, of_first)


def best(arm, width=64):
    """The rate with the first seed's lowest loss; None until all are there."""
    found = {rate: loss(r) for rate in grid(arm, width)
             for r in done(runs_of(arm, rate, width, FIRST))}
    return min(found, key=found.get) if len(found) == len(grid(arm, width)) else None


def at_best(arm, width=64):
    rate = best(arm, width)
    return runs_of(arm, rate, width) if rate else []


def of_bytes(arm, amount):
    """At the rate that is best for 20; what takes hours with one seed."""
    rate, seeds = best(arm), FIRST if amount > 20 else SEEDS
    found = runs_of(arm, rate, 64, seeds) if rate else []
    return [replace(run, flags=tuple(sorted((*run.flags, ("steps", BYTES[amount])))) if amount != 20 else run.flags)
            for run in found]


def wanted():
    found = []
    for width in WIDTHS:
        if width == WIDTHS[-1]:  # last, as they take hours
            found += [run for amount in BYTES for arm in TOLD for run in of_bytes(arm, amount)]
        arms = ARMS if width == 64 else PAIR
        found += [run for arm in arms for rate in grid(arm, width)
                  for run in runs_of(arm, rate, width, FIRST)]
        found += [run for arm in arms for run in at_best(arm, width)]
    return list({run.name: run for run in found}.values())


# ---- what was seen ------------------------------------------------------------------------------

def label(arm):
    return f"{arm[0]}{', embedding norm' if arm[1] == 'on' else ''}"


def lead(of_pre, of_peri, width=64):
    """By seed."""
    return pairs(at_best(("pre", of_pre), width), at_best(("peri", of_peri), width))


def slopes():
    """Of the lead as told over log2 of the width, by seed, and the widths."""
    leads = {width: {run.seed: loss(r) for run, r in finished(at_best(("pre", "off"), width))}
             for width in WIDTHS}
    behind = {width: {run.seed: loss(r) for run, r in finished(at_best(("peri", "on"), width))}
              for width in WIDTHS}
    whole = sorted(w for w in WIDTHS if all(s in at[w] for s in SEEDS for at in (leads, behind)))
    if len(whole) < 3:
        return [], whole
    return [linear_regression([log2(w) for w in whole],
                              [leads[w][s] - behind[w][s] for w in whole]).slope
            for s in SEEDS], whole


def compute(width):
    """Operations of a run: 6 for each parameter and byte."""
    s = SCALES[f"C{width}"]
    return 6 * parameters(s["layers"], width, s["ffn"]) * s["steps"] * s["batch"] * s["seq"]


def power_law(points):
    """(E, A, alpha) of loss = E + A (C / C_first)^-alpha, by least squares; None with fewer than four points."""
    if len(points) < 4:
        return None
    first, losses = points[0][0], [y for _, y in points]

    def line(alpha):
        xs = [(c / first) ** -alpha for c, _ in points]
        A, E = linear_regression(xs, losses)
        return sum((E + A * x - y) ** 2 for x, y in zip(xs, losses)), E, A, alpha
    return min(line(i / 1000) for i in range(10, 2001))[1:]


def fits(arm):
    """Of each seed that has four widths or more."""
    at = {width: {run.seed: loss(r) for run, r in finished(at_best(arm, width))} for width in sorted(WIDTHS)}
    found = [power_law([(compute(w), by_seed[s]) for w, by_seed in at.items() if s in by_seed]) for s in SEEDS]
    return list(filter(None, found))


# ---- figures ------------------------------------------------------------------------------------

def over_rates(arm):
    points = [(float(rate), loss(r)) for rate in grid(arm) for r in done(runs_of(arm, rate, 64, FIRST))]
    return Curve(label(arm), points, arm[0], dashed=arm[1] == "on", marks=True)


def in_training(arm):
    series = [smooth(r.series("loss"), 100) for r in done(at_best(arm))]
    return Curve(label(arm), [p for p in band(series) if p[0] > 600], arm[0], dashed=arm[1] == "on")


def over_widths(arm):
    points = []
    for width in sorted(WIDTHS):
        if found := [loss(r) for r in done(at_best(arm, width))]:
            points.append((width, mean(found), min(found), max(found)))
    return Curve(label(arm), points, arm[0], dashed=arm[1] == "on", marks=True)


def over_bytes():
    points = []
    for amount in BYTES:
        if found := pairs(*(of_bytes(arm, amount) for arm in TOLD)):
            points.append((amount, mean(found), min(found), max(found)))
    return Curve("lead as told", points, "#1a1a1a", marks=True)


def figures():
    panels = [Panel("12 x 64, seed 11", "peak learning rate", "validation loss (nats a byte)",
                    [over_rates(arm) for arm in ARMS], logx=True),
              Panel("12 x 64, best rates", "step", "training loss (nats a byte)", [in_training(arm) for arm in ARMS]),
              Panel("best rates", "width", "validation loss (nats a byte)",
                    [over_widths(arm) for arm in PAIR], logx=True),
              Panel("12 x 64", "bytes a parameter", "Pre-LN's loss less Peri-LN's (nats a byte)",
                    [over_bytes()], logx=True)]
    return [(figure("optimal", f"Training long enough: {RAN}", panels, 2),
             "Loss over the rates, in training, and over the model's width, of runs that see 20 bytes for each "
             "parameter and none twice; the lead as told of runs that see fewer and more. Mean and range over the seeds.")]


def overview():
    rows = []
    for arm in ARMS:
        if found := [loss(r) for r in done(at_best(arm))]:
            rows.append(f"| {label(arm)} | {best(arm)} | {mean(found):.4f} | {len(found)} |")
    if not rows:
        return []
    return [f"12 x 64, {SCALES['C64']['steps']:,} steps, {RAN}.\n", "| arm | best rate | loss | seeds |",
            "|---|---|---|---|", *rows, *table_of_fits(), *missing(wanted())]


def table_of_fits():
    """Of the loss over compute."""
    rows = [f"| {label(arm)} | {interval([f[0] for f in found])} | {interval([f[2] for f in found])} |"
            for arm in PAIR if (found := fits(arm))]
    return ["\nloss = E + A C^-alpha over the widths, C the operations of a run:\n", "| arm | E | alpha |",
            "|---|---|---|", *rows] if rows else []


# ---- claims -------------------------------------------------------------------------------------

def leads():
    found = []
    for title, of_pre, of_peri in (("the norm in Peri-LN alone", "off", "on"), ("in both", "on", "on"),
                                   ("in neither", "off", "off")):
        ahead = lead(of_pre, of_peri)
        if len(ahead) > 1:
            found.append(Claim("optimal-lead", f"12 x 64, {RAN}", f"{title}: {interval(ahead)}",
                               verdict(ahead)))
    return found


def order():
    peri = [arm for arm in PAIR if arm[0] == "peri"]
    losses = {arm: [loss(r) for r in done(at_best(arm))] for arm in ARMS}
    if any(len(found) < 2 for found in losses.values()):
        return []
    leader = min(peri, key=lambda arm: mean(losses[arm]))
    others = {arm: pairs(at_best(arm), at_best(leader)) for arm in ARMS if arm not in peri}
    verdicts = [verdict(behind) for behind in others.values()]
    words = "; ".join(f"{label(arm)} {interval(behind)}" for arm, behind in others.items())
    return [Claim("optimal-order", f"12 x 64, {RAN}", f"behind {label(leader)}: {words}",
                  judge(all(v == SHOWN for v in verdicts), any(v == CONTRADICTED for v in verdicts),
                        verdicts))]


def widths():
    found, whole = slopes()
    if not found:
        return []
    words = "; ".join(f"{width} {interval(lead('off', 'on', width))}" for width in whole)
    return [Claim("optimal-width", RAN, f"slope a doubling {interval(found)}; leads by width: {words}",
                  verdict(found))]


def amounts():
    """Slope over the log of the bytes, of those that all seeds have seen."""
    few = [amount for amount in BYTES if amount <= 20]
    at = {amount: pairs(*(of_bytes(arm, amount) for arm in TOLD)) for amount in BYTES}
    if any(len(at[amount]) < len(SEEDS) for amount in few):
        return []
    slopes = [linear_regression(list(map(log, few)), by_seed).slope for by_seed in zip(*(at[n] for n in few))]
    told = "; ".join(f"{amount} bytes {interval(found) if len(found) > 1 else f'{found[0]:+.3f} (one seed)'}"
                     for amount, found in at.items() if found)
    return [Claim("optimal-bytes", "12 x 64, rates best for 20 bytes a parameter", f"lead: {told}; slope over log "
                  f"bytes {interval(slopes)}", verdict([-slope for slope in slopes]))]


def claims():
    return leads() + order() + widths() + amounts()
