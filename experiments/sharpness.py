"""How sharp the loss is where the placements train: the largest eigenvalues of its Hessians (SimpleGPT's
|H_xx|, and Adam's edge of stability; beyond the paper)."""
from dataclasses import replace
from math import cos, log, nan, pi
from statistics import mean

from draw import Curve, Panel, band, figure
from lab import FAST, SEEDS, placements, runs
from measures import done
from verdict import Claim, alike, interval, pairs, verdict

SECTION = "Sharpness"
RAN = "12 x 64, 300 steps of 16 x 64 bytes"
BY_SEED = True  # report.py does the runs of a seed before those of the next
R, HIGH, STEPS = "4e-3", "1.6e-2", 300
EVERY = 50
AT_BOTH = ("pre", "peri", "keel", "simple")
EDGE = (2 + 2 * 0.9) / (1 - 0.9)  # beta1 = 0.9
LATE = (100, 150, 200, 250)


def runs_of(norm, rate, seeds=SEEDS):
    return [replace(run, sharp=EVERY) for run in runs("S64", (norm,), (rate,), seeds)]


def wanted():
    return [run for seed in SEEDS for norm in placements() for rate in (R, HIGH)
            if rate == R or norm in AT_BOTH for run in runs_of(norm, rate, (seed,))]


# ---- what was seen ------------------------------------------------------------------------------

def rate_at(step, peak):
    """The learning rate of a step: 10 % warmup, then a cosine to 0 (src/schedule.h)."""
    warmup = STEPS // 10
    if step <= warmup:
        return float(peak) * step / warmup
    return float(peak) * (1 + cos(pi * (step - warmup) / (STEPS - warmup))) / 2


def over(r, quantity, steps, layer=None):
    """Mean of the logarithm over some steps."""
    at = dict(r.over_time(quantity, layer))
    values = [at[step] for step in steps if at.get(step, 0) > 0]
    return mean(map(log, values)) if len(values) == len(steps) or (FAST and values) else nan


def adam(steps):
    return lambda r: over(r, "sharpness_adam", steps)


def share(rate, steps):
    """Mean logarithm of the share of the edge."""
    return lambda r: over(r, "sharpness_adam", steps) + mean(log(rate_at(s, rate) / EDGE) for s in steps)


def of_state(layer, scaled=False):
    """Mean logarithm of |H_xx|; `scaled`: times the state's variance, at the end, where that is known."""
    def value(r):
        found = over(r, "hidden_sharpness", (50, *LATE), layer)
        return found + log(r.value("hidden_variance", -1, layer)) if scaled else found
    return value


# ---- figures ------------------------------------------------------------------------------------

def along(norm, rate, quantity, layer=None, scale=lambda step: 1.0):
    curves = [[(step, value * scale(step)) for step, value in r.over_time(quantity, layer)
               if value > 0 and scale(step) > 0] for r in done(runs_of(norm, rate))]
    return Curve(norm, band(curves), norm)


def figures():
    def shares(rate, norms):
        curves = [along(norm, rate, "sharpness_adam", None, lambda step: rate_at(step, rate) / EDGE)
                  for norm in norms]
        edge = [Curve("edge", [(0, 1), (STEPS, 1)], "#999999", True)]
        return Panel(f"rate {rate}", "step", "sharpness over the edge's, 38 / rate",
                     curves + edge * any(curve.points for curve in curves), logy=True)
    states = [Panel(f"x_{s}, rate {R}", "step", "|H_xx|",
                    [along(norm, R, "hidden_sharpness", s) for norm in placements()], logy=True)
              for s in (0, 24)]
    return [(figure("sharpness", f"Sharpness in Adam's terms, and of hidden states: {RAN}",
                    [shares(R, placements()), shares(HIGH, AT_BOTH), *states], 2),
             "Above, the largest eigenvalue of the Hessian in Adam's coordinates as a share of 38 / rate, "
             "beyond which a step is not stable. Below, that of the Hessian with respect to what enters "
             "the first sub-layer and what leaves the last. Mean and range over the seeds.")]


# ---- claims -------------------------------------------------------------------------------------

def edge():
    found = []
    for norm in ("pre", "peri"):
        shares = [share(R, LATE[:3])(r) for r in done(runs_of(norm, R))]
        if len(shares) > 1:
            found.append(Claim("sharpness-edge", f"{RAN}, {R}, steps 100 to 200",
                               f"{norm}: logarithm of the share {interval(shares, '+.2f')}",
                               alike(shares, log(2))))
    return found


def flatter():
    found = []
    for rate in (R, HIGH):
        less = pairs(runs_of("pre", rate), runs_of("peri", rate), share(rate, LATE))
        if len(less) > 1:
            found.append(Claim("sharpness-peri", f"{RAN}, {rate}, steps 100 to 250",
                               f"logarithm of Pre-LN's over Peri-LN's {interval(less, '+.2f')}",
                               verdict(less)))
    return found


def adapts():
    found = []
    for norm in AT_BOTH:
        less = pairs(runs_of(norm, R), runs_of(norm, HIGH), adam(LATE))
        if len(less) > 1:
            found.append(Claim("sharpness-rate", f"{RAN}, steps 100 to 250",
                               f"{norm}: logarithm of that at {R} over that at {HIGH} "
                               f"{interval(less, '+.2f')}", verdict(less)))
    return found


def simple():
    found = []
    for layer in (0, 12, 24):
        less, scaled = (pairs(runs_of("pre", R), runs_of("simple", R), of_state(layer, times))
                        for times in (False, True))
        if len(less) > 1:
            found.append(Claim("simple-hessian", f"{RAN}, {R}, steps 50 to 250",
                               f"x_{layer}: logarithm of Pre-LN's |H_xx| over SimpleNorm's "
                               f"{interval(less, '+.2f')}; times the states' variances "
                               f"{interval(scaled, '+.2f')}", verdict(less)))
    return found


def claims():
    return edge() + flatter() + adapts() + simple()
