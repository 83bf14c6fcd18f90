"""Loss against learning rate, and each placement's best rate (Figures 3, 12, 13; Table 1).

Every placement at rates that double, three seeds. `best_rate` and `R` are what later recipes use.
"""
from math import floor, log10
from statistics import mean

from draw import Curve, Panel, figure
from lab import RATES, SEEDS, TEN, finished, runs
from verdict import loss

SECTION = "Learning rate and loss"
RAN = "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 13"


def wanted():
    return runs("S64", TEN, RATES, SEEDS) + runs("S64", ("pre",), RATES, SEEDS, qk_norm="full")


def mean_loss(norm, rate, **flags):
    """None until all seeds are there."""
    done = finished(runs("S64", (norm,), (rate,), SEEDS, **flags))
    return mean(loss(r) for _, r in done) if len(done) == len(SEEDS) else None


def best_rate(norm, **flags):
    """The rate with the lowest mean loss over SEEDS; None until all rates are there."""
    losses = {rate: mean_loss(norm, rate, **flags) for rate in RATES}
    return None if None in losses.values() else min(losses, key=losses.get)


def R():
    """Pre-LN's best rate, at which the paper trains Pre-LN and Peri-LN (Section 4.2)."""
    return best_rate("pre")


def times(rate, factor):
    """The name of a rate that is so many times another: times("8e-3", 2) is "1.6e-2"."""
    value = float(rate) * factor
    exponent = floor(log10(value) + 1e-9)
    return f"{value / 10 ** exponent:.3g}e{exponent}"


def around_R(*factors):
    """R times each factor, R itself without any; nothing while R is not known."""
    rate = R()
    return tuple(times(rate, factor) for factor in factors or (1,)) if rate else ()


def figures():
    def curve(norm, label, **flags):
        points = []
        for rate in RATES:
            losses = [loss(r) for _, r in finished(runs("S64", (norm,), (rate,), SEEDS, **flags))]
            if losses:
                points.append((float(rate), mean(losses), min(losses), max(losses)))
        return Curve(label, points, norm, dashed=bool(flags), marks=True)
    panels = [Panel("the paper's three", "peak learning rate", "validation loss (nats a byte)",
                    [curve(norm, norm) for norm in ("post", "pre", "peri")], logx=True),
              Panel("all ten", "peak learning rate", "validation loss (nats a byte)",
                    [curve(norm, norm) for norm in TEN], logx=True)]
    return [(figure("learning_rate", "Loss against learning rate (Figures 3, 12): " + RAN, panels, 2),
             "Validation loss against the peak learning rate, mean and range over seeds.")]


def claims():
    return []
