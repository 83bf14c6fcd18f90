"""Gradients over the layers, at initialisation and after training (Figure 7).

Drawn from the runs of growth.py and matched.py. Which gradients Figure 7 shows is not said: those
with respect to a sub-layer's matrices and to the hidden state behind it are both given.
"""
from math import log, nan

import matched
from draw import Curve, Panel, figure
from growth import RATES
from lab import SEEDS, THREE, runs
from measures import (all_above, all_below, between, by_sublayer, done, largest_over_smallest,
                      learned, over_layers, slope)
from verdict import SHOWN, Claim, joint, judge, pairs, spread, verdict

SECTION = "Gradients"
RAN = "12 x 128, 300 steps of 16 x 64 bytes, seeds 11 to 13"
NORMS = {"weight_gradient_norm": "weights", "hidden_gradient_norm": "hidden state"}
MEASURES = {**NORMS, "weight_gradient_variance": "weights, variance"}


def runs_of(norm, rate="2e-3"):
    return runs("S128", (norm,), (rate,), SEEDS, probe=50)


def wanted():
    return []


def figures():
    panels = []
    for quantity in (*MEASURES, "hidden_gradient_variance"):
        for step, when in ((0, "initialisation"), (-1, "after training")):
            kind, what = quantity.split("_gradient_")
            curves = [Curve(norm, over_layers(runs_of(norm), quantity, step), norm)
                      for norm in THREE]
            panels.append(Panel(f"{kind} gradient, {what}, {when}", "sub-layer",
                                f"{what} of the {kind} gradient", curves,
                                logy=True))
    return [(figure("layer_gradients", "Gradients over depth (Figure 7): rate 2e-3, " + RAN, panels,
                    2),
             "Norm and variance of the gradients of each sub-layer's matrices and of the hidden "
             "state behind it, at initialisation (left) and after training (right).")]


def slopes(wanted, quantity, step):
    """Of the logarithm, a sub-layer; positive: larger at the top."""
    profiles = [by_sublayer(r, quantity, step) for r in done(wanted)]
    return [slope(range(len(values)), [log(v) if v > 0 else nan for v in values])
            for values in profiles]


def post_late_claim():
    found = {name: slopes(runs_of("post"), quantity, -1) for quantity, name in NORMS.items()}
    if not any(found.values()):
        return []
    shown = all(verdict(values) == SHOWN for values in found.values())
    words = [f"{name} {spread(values, '+.3f')}" for name, values in found.items()]
    return [Claim("layers-post-late", f"Post-LN, {RAN}, rate 2e-3",
                  "slope of the logarithm a sub-layer, at the end: " + "; ".join(words),
                  judge(shown, all(all_below(values, 0) for values in found.values()),
                        list(map(verdict, found.values()))))]


def pre_early_claim():
    words, says, contradicted = [], [], True
    for setting, of_setting in matched.settings():
        wanted = of_setting("pre")
        for quantity, name in NORMS.items():
            values = slopes(wanted, quantity, 0)
            profiles = [by_sublayer(r, quantity, 0) for r in done(wanted)]
            ratios = [profile[0] / profile[-1] for profile in profiles]
            words.append(f"{setting}, {name} {spread(values, '+.3f')}, first over last "
                         f"{spread(ratios, '.1f')}")
            says.append(verdict([-value for value in values]))
            contradicted = contradicted and all_above(values, 0)
    if not done(runs_of("pre")):
        return []
    return [Claim("layers-pre-early", "Pre-LN, before training, seeds 11 to 13",
                  "slope of the logarithm a sub-layer: " + "; ".join(words),
                  judge(set(says) == {SHOWN}, contradicted, says))]


def unevenness(r, quantity, step):
    return largest_over_smallest(by_sublayer(r, quantity, step))


def less_even(norm, rate, quantity, step):
    """By how much the logarithm of largest over smallest exceeds Peri-LN's, by seed."""
    return pairs(runs_of(norm, rate), runs_of("peri", rate),
                 lambda r: log(unevenness(r, quantity, step)))


def peri_even_claim(rate):
    if not done(runs_of("peri", rate)) or not done(runs_of("pre", rate)):
        return []
    words, verdicts = [], []
    at_end = ["pre"] + (["post"] if len(learned(runs_of("post", rate))) == len(SEEDS) else [])
    for step, when, others in ((0, "start", ["pre"]), (-1, "end", at_end)):
        for quantity, name in MEASURES.items():
            measure = lambda r: unevenness(r, quantity, step)
            values = [f"{norm} {between([measure(r) for r in done(runs_of(norm, rate))])}"
                      for norm in ("peri", *others)]
            words.append(f"{when}, {name}: {', '.join(values)}")
            verdicts += [verdict(less_even(norm, rate, quantity, step)) for norm in others]
    worse = any(all_below(less_even("pre", rate, "weight_gradient_norm", step), 0)
                for step in (0, -1))
    return [Claim("layers-peri-even", f"{RAN}, rate {rate}",
                  f"at {rate}: largest over smallest over depth, {'; '.join(words)}",
                  judge(joint(verdicts) == SHOWN, worse, verdicts))]


def claims():
    return post_late_claim() + pre_early_claim() + sum(map(peri_even_claim, RATES), [])
