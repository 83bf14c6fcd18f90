"""Growth of the hidden state over depth and training (Figures 1, 6, 14, 15).

Also what the gradients' and the hidden states' figures are drawn from: all these runs are probed
every 50 steps.
"""
from draw import Curve, Panel, band, figure
from lab import FAST, SEEDS, TEN, THREE, finished, result, runs
from statistics import mean
from verdict import CONTRADICTED, OPEN, SHOWN, Claim, pairs, spread, verdict

SECTION = "Growth of the hidden state"
RATES = ("2e-3",) if FAST else ("2e-3", "8e-3")
RAN = "12 x 128, 300 steps of 16 x 128 bytes, seeds 11 to 13"


def wanted():
    slow = runs("S128", TEN, ("2e-3",), SEEDS, probe=50)
    fast = runs("S128", ("post", "pre", "peri", "mix", "keel", "simple"), RATES[1:], SEEDS, probe=50)
    others = [] if FAST else runs("S128", ("pre", "peri"), ("1e-3", "4e-3"), SEEDS, probe=50)
    return slow + fast + others


def of(norm, rate):
    return [r for _, r in finished(runs("S128", (norm,), (rate,), SEEDS, probe=50))]


def figures():
    panels = []
    for rate in RATES:
        for norm in THREE:
            done = of(norm, rate)
            steps = done[0].steps if done else []
            curves = [Curve(f"step {step}", band([sorted(r.profile("hidden_variance", step).items())
                                                  for r in done]), colour)
                      for step, colour in zip(steps, ("#bbbbbb", "#c6dbef", "#9ecae1", "#6baed6",
                                                      "#4292c6", "#2171b5", "#084594"))]
            panels.append(Panel(f"{norm}, rate {rate}", "sub-layer", "variance of the hidden state",
                                curves, logy=True))
    return [(figure("growth", "Hidden-state variance over depth (Figures 1, 6, 14, 15): " + RAN, panels),
             "Hidden-state variance after each sub-layer at steps 0 to 300, mean and range over seeds.")]


def growth(r):
    """Last over first probe, at the last sub-layer."""
    last = max(r.profile("hidden_variance"))
    return r.value("hidden_variance", -1, last) / r.value("hidden_variance", 0, last)


def ratio_over_depth(r, step=-1):
    values = [v for s, v in r.profile("hidden_variance", step).items() if s]
    return max(values) / min(values)


def claims():
    found = []
    peaks = [max(ratio_over_depth(r, step) for step in r.steps) for r in of("post", "2e-3")]
    if peaks:
        ends = [ratio_over_depth(r) for r in of("post", "2e-3")]
        found.append(Claim(
            "growth-post-constant", f"{RAN}, rate 2e-3",
            f"largest over smallest variance over depth, any probe: {spread(peaks, '.2f')}",
            SHOWN if max(peaks) < 3 else CONTRADICTED if min(ends) > 3 else OPEN))
    return found
