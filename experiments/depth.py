"""Twelve to 96 layers: growth of variance, Post-LN's gradients, and the leads (beyond the paper).

All at R, 150 steps; Post-LN, which fails at R, also at its own best rate.
"""
from math import log, log10
from statistics import mean

from draw import Curve, Panel, figure
from lab import FAST, SEEDS, runs
from learning_rate import R, best_rate
from measures import (all_above, all_below, better_fit, done, end_over_start, judge,
                      last_over_first, over_layers, slope)
from verdict import CONTRADICTED, SHOWN, Claim, failed, loss, pairs, spread, verdict

SECTION = "Beyond the papers"
DEPTHS = (12,) if FAST else (12, 24, 48, 96)
NORMS = ("pre", "peri", "post", "keel")
RAN = f"{DEPTHS[0]} to {DEPTHS[-1]} x 64, 150 steps of 16 x 64 bytes, seeds 11 to 13"


def of(norm, layers, rate=R):
    """At the rate that a function finds."""
    deeper = {} if layers == 12 else {"layers": layers}
    return runs("S64", (norm,), (rate(),), SEEDS, steps=150, **deeper) if rate() else []


def posts_own():
    """Post-LN's best rate, unless that is R."""
    best = best_rate("post")
    return best if best != R() else None


def wanted():
    at_R = [run for layers in DEPTHS for norm in NORMS for run in of(norm, layers)]
    return at_R + [run for layers in DEPTHS for run in of("post", layers, posts_own)]


# ---- figures ------------------------------------------------------------------------------------

def by_depth(norm, measure, rate=R):
    """(layers, mean, lowest, highest)"""
    points = []
    for layers in DEPTHS:
        values = [measure(r) for r in done(of(norm, layers, rate))]
        if values and all(value == value for value in values):
            points.append((layers, mean(values), min(values), max(values)))
    return points


def first_over_last(r, step=-1):
    """Of the gradients of the hidden states: below 1 where they vanish on their way back."""
    gradients = [value for _, value in sorted(r.profile("hidden_gradient_norm", step).items())]
    return gradients[0] / gradients[-1] if gradients and gradients[-1] > 0 else float("nan")


def figures():
    over_depth = (("validation loss", loss, False),
                  ("variance, end over start", end_over_start, True),
                  ("hidden-state gradient, first over last", first_over_last, True))
    panels = [Panel(what, "layers", what,
                    [Curve(norm, by_depth(norm, measure), norm, marks=True) for norm in NORMS]
                    + [Curve(f"post at {posts_own()}", by_depth("post", measure, posts_own), "post",
                             dashed=True, marks=True)], logx=True, logy=logy)
              for what, measure, logy in over_depth]
    for layers in DEPTHS:
        curves = [Curve(norm, over_layers(of(norm, layers), "hidden_variance"), norm)
                  for norm in NORMS]
        panels.append(Panel(f"{layers} layers, after training", "sub-layer", "variance", curves,
                            logy=True))
    return [(figure("depth", f"Depth: {RAN}, rate {R()}", panels, 4),
             "Loss, growth of the last sub-layer's variance in training, and the hidden states' "
             "gradients against depth; variance over the sub-layers at each depth.")]


# ---- claims -------------------------------------------------------------------------------------

def complete(*norms, rate=R):
    """Whether all depths of these have been run."""
    return all(len(done(of(norm, layers, rate))) == len(SEEDS)
               for norm in norms for layers in DEPTHS)


def at_depths(measure):
    """In words: measure(layers) of each depth."""
    return "; ".join(f"{layers} layers {measure(layers)}" for layers in DEPTHS)


def deepest_less_shallowest(norm, measure, rate=R):
    """By seed."""
    return pairs(of(norm, DEPTHS[-1], rate), of(norm, DEPTHS[0], rate), measure)


def claim(id, seen, found):
    return [Claim(id, f"{RAN}, rate {R()} where none is named", seen, found,
                  "the same depths, 600 steps, width 128")]


def peri_growth():
    if not complete("peri"):
        return []
    fits = {layers: [better_fit(r) for r in done(of("peri", layers))] for layers in DEPTHS}

    def words(layers):
        ratio = spread([last_over_first(r) for r in done(of("peri", layers))], ".3g")
        counts = [f"{fits[layers].count(fit)} {fit or 'undecided'}"
                  for fit in ("linear", "exponential", None) if fit in fits[layers]]
        return f"{', '.join(counts)}, last over first {ratio}"

    return claim("depth-growth", f"peri, better fit at the end: {at_depths(words)}",
                 judge(all(set(found) == {"linear"} for found in fits.values()),
                       set(fits[DEPTHS[-1]]) == {"exponential"}))


def pre_growth():
    if not complete("pre"):
        return []
    words = lambda layers: spread([end_over_start(r) for r in done(of("pre", layers))], ".3g")
    found = deepest_less_shallowest("pre", lambda r: log10(end_over_start(r)))
    return claim("depth-growth", f"pre, variance at the end over the start: {at_depths(words)}",
                 judge(verdict(found) == SHOWN, all_below(found, 0)))


def post_gradient(rate):
    if not complete("post", rate=rate):
        return []
    words = lambda step: at_depths(lambda layers: spread(
        [first_over_last(r, step) for r in done(of("post", layers, rate))], ".3g"))
    found = deepest_less_shallowest("post", lambda r: log(first_over_last(r)), rate)
    return claim("depth-post-gradient", f"post at {rate()}: gradients, first over last hidden "
                 f"state: at the start {words(0)}; at the end {words(-1)}",
                 verdict([-d for d in found]))


def leads(second, first, layers):
    """Loss of `second` minus that of `first`, by seed."""
    return pairs(of(second, layers), of(first, layers))


def lead_words(second, first):
    return at_depths(lambda layers: spread(leads(second, first, layers), "+.3f"))


def post_loss(rate):
    """A run that has failed cannot fall further behind: then nothing is contradicted."""
    if not complete("post", rate=rate) or not complete("peri"):
        return []
    behind = {layers: pairs(of("post", layers, rate), of("peri", layers)) for layers in DEPTHS}
    more = [deep - shallow for shallow, deep in zip(behind[DEPTHS[0]], behind[DEPTHS[-1]])]
    fails = {layers: sum(map(failed, done(of("post", layers, rate)))) for layers in DEPTHS}
    words = lambda layers: f"{spread(behind[layers], '+.3f')}, {fails[layers]} failed"
    return claim("depth-post-gradient",
                 f"loss of post at {rate()} minus peri at {R()}: {at_depths(words)}",
                 judge(verdict(more) == SHOWN,
                       not fails[DEPTHS[0]] and all(d <= 0 for d in more)))


def slopes(second, first):
    """Of the lead over log depth, by seed."""
    at = [leads(second, first, layers) for layers in DEPTHS]
    return [slope(list(map(log, DEPTHS)), by_seed) for by_seed in zip(*at)] if len(at) > 1 else []


def peri_lead():
    if not complete("pre", "peri"):
        return []
    found = slopes("pre", "peri")
    return claim("depth-loss", f"loss of pre minus peri: {lead_words('pre', 'peri')}; slope over "
                 f"log depth {spread(found, '+.3f')}",
                 judge(verdict(found) == SHOWN, all_below(found, 0)))


def keel_lead():
    if not complete("pre", "keel"):
        return []
    found, deepest = slopes("pre", "keel"), leads("pre", "keel", DEPTHS[-1])
    return claim("keel-depth", f"loss of pre minus keel: {lead_words('pre', 'keel')}; slope over "
                 f"log depth {spread(found, '+.3f')}",
                 judge(verdict(found) == SHOWN and all_above(deepest, 0),
                       all_below(found, 0) and verdict(deepest) == CONTRADICTED))


def claims():
    of_post = [found for rate in (R, posts_own) for found in post_gradient(rate) + post_loss(rate)]
    return peri_growth() + pre_growth() + of_post + peri_lead() + keel_lead()
