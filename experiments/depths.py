"""Ten placements at four depths over the rates, all else the same, and their leads at each depth's best rate."""
from math import log
from statistics import mean

from causes import missing
from draw import Curve, Panel, figure
from lab import FAST, SEEDS, placements, runs
from measures import done, slope, widened
from verdict import Claim, interval, loss, pairs, verdict

SECTION = "KEEL's rows"
DEPTHS = (12,) if FAST else (12, 24, 48, 96)
RATES = ("1e-3", "4e-3", "1.6e-2", "6.4e-2")  # of all ten placements, the first seed
LADDER = ("5e-4", "1e-3", "2e-3", "4e-3", "8e-3", "1.6e-2", "3.2e-2", "6.4e-2", "1.28e-1")
TUNED = (("pre", "off"), ("pre", "on"), ("peri", "on"), ("keel", "on"))  # and the embedding norm
RAN = "12 to 96 x 64, 150 steps of 16 x 64 bytes, N(0, 0.08^2)"
FIRST = SEEDS[:1]  # the seed that chooses rates
ADAPTS = True  # report.py asks anew what is wanted after every few runs


def runs_of(arm, layers, rate, seeds=SEEDS):
    norm, embedding = arm
    flags = {"init": "normal:0.08"}
    if embedding != ("on" if norm == "peri" else "off"):
        flags["embedding_norm"] = embedding
    if layers != 12:
        flags["layers"] = layers
    return runs("S64", (norm,), (rate,), seeds, steps=150, **flags)


def loss_at(arm, layers, rate):
    """The first seed's; None where it has not been made."""
    made = done(runs_of(arm, layers, rate, FIRST))
    return loss(made[0]) if made else None


def grid(arm, layers):
    """Three rates, and more wherever the first seed's loss is lowest at an end."""
    return widened(LADDER, 2, 5, lambda rate: loss_at(arm, layers, rate))


def best(arm, layers):
    """The rate with the first seed's lowest loss; None until all are there."""
    found = {rate: loss_at(arm, layers, rate) for rate in grid(arm, layers)}
    return None if None in found.values() else min(found, key=found.get)


def at_best(arm, layers):
    rate = best(arm, layers)
    return runs_of(arm, layers, rate) if rate else []


def wanted():
    found = [run for layers in DEPTHS for norm in placements() for rate in RATES
             for run in runs_of((norm, "on"), layers, rate, FIRST)]
    for layers in DEPTHS:
        for arm in TUNED:
            found += [run for rate in grid(arm, layers) for run in runs_of(arm, layers, rate, FIRST)]
            found += at_best(arm, layers)
    found += [run for layers in DEPTHS for norm in placements() for rate in RATES
              for run in runs_of((norm, "off"), layers, rate, FIRST)]
    return list({run.name: run for run in found}.values())


# ---- figures ------------------------------------------------------------------------------------

def label(arm):
    return f"{arm[0]}, embedding norm" if arm == ("pre", "on") else arm[0]


def over_depth(arm):
    points = []
    for layers in DEPTHS:
        if found := [loss(r) for r in done(at_best(arm, layers))]:
            points.append((layers, mean(found), min(found), max(found)))
    return Curve(label(arm), points, arm[0], dashed=arm == ("pre", "on"), marks=True)


def best_rates(arm):
    points = [(layers, float(rate)) for layers in DEPTHS if (rate := best(arm, layers))]
    return Curve(label(arm), points, arm[0], dashed=arm == ("pre", "on"), marks=True)


def figures():
    panels = [Panel("each at its depth's best rate", "layers", "validation loss (nats a byte)",
                    [over_depth(arm) for arm in TUNED], logx=True),
              Panel("best rate, seed 11", "layers", "learning rate", [best_rates(arm) for arm in TUNED],
                    logx=True, logy=True)]
    if not panels[0].curves[0].points:
        return []
    return [(figure("depths", f"Rates tuned at each depth: {RAN}", panels, 2),
             "Loss at the best rate of each depth, mean and range over the seeds, and that rate.")]


def overview():
    begun = any(done(runs_of((norm, "on"), layers, rate, FIRST))
                for layers in DEPTHS[1:] for norm in placements() for rate in RATES)
    return missing(wanted(), adapts=True) if begun else []


# ---- claims -------------------------------------------------------------------------------------

def leads(second, first, layers):
    """Loss of `second` less that of `first`, by seed."""
    return pairs(at_best(second, layers), at_best(first, layers))


def lead(name, second, first):
    at = {layers: leads(second, first, layers) for layers in DEPTHS}
    if len(DEPTHS) < 2 or any(len(found) < len(SEEDS) for found in at.values()):
        return []
    slopes = [slope(list(map(log, DEPTHS)), by_seed) for by_seed in zip(*at.values())]
    told = "; ".join(f"{layers} layers {interval(found)}" for layers, found in at.items())
    return [Claim(name, f"{RAN}, best rates, seeds 11 to 13", f"{label(second)} minus {label(first)}: {told}; slope "
                  f"over log depth {interval(slopes)}", verdict(slopes))]


def claims():
    pre, pre_on, peri, keel = TUNED
    return (lead("depth-tuned-loss", pre, peri) + lead("depth-tuned-loss", pre_on, peri)
            + lead("depth-tuned-keel", pre_on, keel))
