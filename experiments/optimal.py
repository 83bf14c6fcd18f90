"""Training long enough to count: 20 bytes a parameter, none of them twice (Table 1 at our size)."""
from math import log2, sqrt
from statistics import linear_regression, mean

from causes import missing
from draw import Curve, Panel, band, figure
from lab import SCALES, SEEDS, finished, runs
from measures import done, smooth, widened
from verdict import CONTRADICTED, SHOWN, Claim, interval, judge, loss, pairs, verdict

SECTION = "Training long enough"
RAN = "20 bytes a parameter, each at its best rate"
LADDER = ("5e-4", "1e-3", "2e-3", "4e-3", "8e-3", "1.6e-2", "3.2e-2", "6.4e-2", "1.28e-1")
PAIR = [(norm, which) for norm in ("pre", "peri") for which in ("off", "on")]
ARMS = [*PAIR, ("olmo2", "off"), ("olmo2", "on"), ("post", "off"), ("keel", "off"), ("simple", "off")]
WIDTHS = (64, 32, 48, 96)  # in the order in which they are made
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


def wanted():
    found = []
    for width in WIDTHS:
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


def figures():
    panels = [Panel("12 x 64, seed 11", "peak learning rate", "validation loss (nats a byte)",
                    [over_rates(arm) for arm in ARMS], logx=True),
              Panel("12 x 64, best rates", "step", "training loss (nats a byte)", [in_training(arm) for arm in ARMS]),
              Panel("best rates", "width", "validation loss (nats a byte)",
                    [over_widths(arm) for arm in PAIR], logx=True)]
    return [(figure("optimal", f"Training long enough: {RAN}", panels, 2),
             "Loss over the rates, in training, and over the model's width, of runs that see 20 bytes for each "
             "parameter and none twice; mean and range over the seeds.")]


def overview():
    rows = []
    for arm in ARMS:
        if found := [loss(r) for r in done(at_best(arm))]:
            rows.append(f"| {label(arm)} | {best(arm)} | {mean(found):.4f} | {len(found)} |")
    if not rows:
        return []
    return [f"12 x 64, {SCALES['C64']['steps']:,} steps, {RAN}.\n", "| arm | best rate | loss | seeds |",
            "|---|---|---|---|", *rows, *missing(wanted())]


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


def claims():
    return leads() + order() + widths()
