"""Angular distance between the hidden states of layers (Figures 9(a), 39(a), 39(c)).

Drawn from the runs of growth.py and matched.py. A distance of 0 says that a layer changed nothing
but the size of its input. The first layer is left out: the embedding norm alone decides it.
"""
from math import exp, log
from statistics import mean

import matched
from draw import Curve, Panel, band, figure
from growth import RATES
from lab import SEEDS, THREE, runs
from measures import all_above, all_below, between, done, learned
from verdict import SHOWN, Claim, alike, joint, judge, pairs, verdict

SECTION = "Gamma and hidden representations"
RAN = "12 x 128, 300 steps of 16 x 64 bytes, seeds 11 to 13"
APART = (1, 4)  # layers between the two states


def runs_of(norm, rate="2e-3"):
    return runs("S128", (norm,), (rate,), SEEDS, probe=50)


def wanted():
    return []


def angle(r, apart, step):
    """Mean over the layers but the first."""
    values = [v for layer, v in r.profile(f"angular_distance_{apart}", step).items() if layer]
    return mean(values) if values else float("nan")


def by_distance(wanted, step):
    """The mean angle against the number of layers between."""
    every = lambda r: [(n, angle(r, n, step)) for n in range(1, 12)
                       if angle(r, n, step) == angle(r, n, step)]
    return band([every(r) for r in done(wanted)])


def by_layer(wanted, step):
    return band([sorted(r.profile("angular_distance_1", step).items()) for r in done(wanted)])


def figures():
    panel = lambda title, x, curve, step, rate: Panel(
        title, x, "angular distance / pi",
        [Curve(norm, curve(runs_of(norm, rate), step), norm) for norm in THREE])
    panels = [panel("initialisation: next layer", "layer", by_layer, 0, RATES[0])]
    panels += [panel(f"after training, {rate}: next layer", "layer", by_layer, -1, rate)
               for rate in RATES]
    panels.append(panel(f"after training, {RATES[0]}: mean over the layers", "layers between",
                        by_distance, -1, RATES[0]))
    return [(figure("redundancy", "Angular distance of layers (Figures 9, 39): " + RAN, panels, 2),
             "Angle between the hidden states that enter two layers, over pi.")]


def levels(wanted_of, step):
    return "; ".join(f"{apart} apart: " + ", ".join(
        f"{norm} {between([angle(r, apart, step) for r in done(wanted_of(norm))])}"
        for norm in THREE) for apart in APART)


def init_claims(setting, wanted_of):
    """The two parts of the claim, in one setting."""
    if not done(wanted_of("post")):
        return []
    lead, ratios = [], []
    for apart in APART:
        measure = lambda r: angle(r, apart, 0)
        to_pre = pairs(wanted_of("pre"), wanted_of("post"), measure)
        to_peri = pairs(wanted_of("peri"), wanted_of("post"), measure)
        lead.append([min(both) for both in zip(to_pre, to_peri)])
        ratios.append(pairs(wanted_of("pre"), wanted_of("peri"), lambda r: log(measure(r))))
    ahead = [verdict(values) for values in lead]
    lowest = judge(set(ahead) == {SHOWN}, all(all_below(values, 0) for values in lead), ahead)
    close = [alike(values, log(1.5)) for values in ratios]
    similar = judge(set(close) == {SHOWN},
                    all(all_above(v, log(2)) or all_below(v, -log(2)) for v in ratios), close)
    ran = f"{setting}, 12 layers, before training, seeds 11 to 13"
    times = "; ".join(f"{apart} apart {between([exp(d) for d in values])}"
                      for apart, values in zip(APART, ratios))
    return [Claim("angular-init", ran, f"Post-LN lowest: {levels(wanted_of, 0)}", lowest),
            Claim("angular-init", ran, f"Pre-LN and Peri-LN alike: Pre-LN's over Peri-LN's {times}",
                  similar)]


def trained_claims():
    found = []
    words = [f"{rate}: {levels(lambda norm: runs_of(norm, rate), -1)}" for rate in RATES
             if done(runs_of("pre", rate))]
    if not words:
        return []
    for name, other in (("Peri-LN", "peri"), ("Post-LN", "post")):
        verdicts = [verdict(pairs(made, runs_of("pre", rate), lambda r: angle(r, apart, -1)))
                    for rate in RATES if (made := learned(runs_of(other, rate))) for apart in APART]
        found.append(Claim("angular-trained", f"{RAN}, rates {' and '.join(RATES)}",
                           f"against {name}: {'. '.join(words)}", joint(verdicts)))
    return found


def claims():
    at_start = [claim for setting in matched.settings() for claim in init_claims(*setting)]
    return at_start + trained_claims()
