"""Twelve to 96 layers: growth of variance, Post-LN's gradients, and the leads (beyond the paper).

All at R, 150 steps; Post-LN, which fails at R, also at its own best rate.
"""
from math import log, log10
from statistics import mean

from draw import Curve, Panel, figure
from lab import FAST, SEEDS, finished, runs
from learning_rate import best_rate, caution, shared_rate
from measures import (all_above, all_below, better_fit, by_sublayer, done, end_over_start,
                      last_over_first, last_variance, learned, over_layers, shapes, slope,
                      words_of_shapes)
from verdict import (CONTRADICTED, SHOWN, Claim, failed, interval, joint, judge, loss, pairs,
                     spread, verdict)

SECTION = "Beyond the papers"
DEPTHS = (12,) if FAST else (12, 24, 48, 96)
NORMS = ("pre", "peri", "post", "keel")
RAN = f"{DEPTHS[0]} to {DEPTHS[-1]} x 64, 150 steps of 16 x 64 bytes, seeds 11 to 13"


def runs_of(norm, layers, rate=shared_rate):
    """At the rate that a function finds."""
    deeper = {} if layers == 12 else {"layers": layers}
    return runs("S64", (norm,), (rate(),), SEEDS, steps=150, **deeper) if rate() else []


def posts_own():
    """Post-LN's best rate, unless that is R."""
    best = best_rate("post")
    return best if best != shared_rate() else None


def wanted():
    at_shared_rate = [run for layers in DEPTHS for norm in NORMS for run in runs_of(norm, layers)]
    return at_shared_rate + [run for layers in DEPTHS for run in runs_of("post", layers, posts_own)]


# ---- figures ------------------------------------------------------------------------------------

def by_depth(norm, measure, rate=shared_rate, chosen=lambda runs: runs):
    """(layers, mean, lowest, highest)"""
    points = []
    for layers in DEPTHS:
        values = [measure(r) for r in done(chosen(runs_of(norm, layers, rate)))]
        if values and all(value == value for value in values):
            points.append((layers, mean(values), min(values), max(values)))
    return points


def first_over_last(r, step=-1):
    """Of the gradients of the hidden states behind the sub-layers: below 1 where they vanish on
    their way back."""
    gradients = by_sublayer(r, "hidden_gradient_norm", step)
    return gradients[0] / gradients[-1] if gradients and gradients[-1] > 0 else float("nan")


def figures():
    every = lambda runs: runs
    over_depth = (("validation loss", loss, False, every),
                  ("variance, end over start", end_over_start, True, every),
                  ("gradient, first over last (runs that learned)", first_over_last,
                   True, learned))
    panels = [Panel(what, "layers", what,
                    [Curve(norm, by_depth(norm, measure, shared_rate, chosen), norm, marks=True)
                     for norm in NORMS]
                    + [Curve(f"post at {posts_own()}", by_depth("post", measure, posts_own, chosen),
                             "post", dashed=True, marks=True)], logx=True, logy=logy)
              for what, measure, logy, chosen in over_depth]
    for layers in DEPTHS:
        curves = [Curve(norm, over_layers(runs_of(norm, layers), "hidden_variance"), norm)
                  for norm in NORMS]
        panels.append(Panel(f"{layers} layers, after training", "sub-layer", "variance", curves,
                            logy=True))
    return [(figure("depth", f"Depth: {RAN}, rate {shared_rate()}", panels, 2),
             "Loss, growth of the last sub-layer's variance in training, and the hidden states' "
             "gradients against depth; variance over the sub-layers at each depth.")]


# ---- claims -------------------------------------------------------------------------------------

def complete(*norms, rate=shared_rate):
    """Whether all depths of these have been run."""
    return all(len(done(runs_of(norm, layers, rate))) == len(SEEDS)
               for norm in norms for layers in DEPTHS)


def at_depths(measure):
    """In words: measure(layers) of each depth."""
    return "; ".join(f"{layers} layers {measure(layers)}" for layers in DEPTHS)


def deepest_less_shallowest(norm, measure, rate=shared_rate):
    """By seed."""
    return pairs(runs_of(norm, DEPTHS[-1], rate), runs_of(norm, DEPTHS[0], rate), measure)


def claim(id, seen, found):
    return [Claim(id, f"{RAN}, rate {shared_rate()} where none is named", seen, found,
                  "the same depths, 600 steps, width 128")]


def peri_growth():
    """The shape at each depth, and whether the power law's exponent stays the same."""
    if not complete("peri"):
        return []
    fits = {layers: [better_fit(r) for r in done(runs_of("peri", layers))] for layers in DEPTHS}

    def words(layers):
        found = done(runs_of("peri", layers))
        counts = [f"{fits[layers].count(fit)} {fit or 'undecided'}"
                  for fit in ("sub-exponential", "exponential", None) if fit in fits[layers]]
        return (f"{', '.join(counts)}, {words_of_shapes([shapes(r) for r in found])}, last over "
                f"first {spread([last_over_first(r) for r in found], '.3g')}")

    found = claim("depth-growth", f"peri, better fit at the end: {at_depths(words)}",
                  judge(all(set(found) == {"sub-exponential"} for found in fits.values()),
                        set(fits[DEPTHS[-1]]) == {"exponential"}))
    slopes = by_depth_slope("peri", exponent)
    if slopes:
        told = lambda step: at_depths(lambda layers: spread(
            [exponent(r, step) for r in done(runs_of("peri", layers))], ".2f"))
        found += claim("depth-exponent", f"peri, exponent of the power law: before training "
                       f"{told(0)}; after it {told(-1)}; slope of the latter over log depth "
                       f"{interval(slopes)}", verdict(slopes))
    return found


def exponent(r, step=-1):
    """Of the power law of the variance over depth: 1 where a sub-layer adds the same, 2 where all
    add to the same direction."""
    return (shapes(r, step) or {}).get("exponent", float("nan"))


def by_depth_slope(norm, measure):
    """Over log depth, by seed."""
    at = [{run.seed: measure(r) for run, r in finished(runs_of(norm, layers))} for layers in DEPTHS]
    seeds = sorted(set.intersection(*map(set, at)))
    return [slope(list(map(log, DEPTHS)), [each[seed] for each in at]) for seed in seeds] \
        if len(DEPTHS) > 1 else []


def pre_growth():
    """What training adds, and where the variance ends."""
    if not complete("pre"):
        return []
    told = lambda norm, measure: at_depths(lambda layers: spread(
        [measure(r) for r in done(runs_of(norm, layers))], ".3g"))
    found = [verdict(deepest_less_shallowest("pre", lambda r: log10(measure(r))))
             for measure in (end_over_start, last_variance)]
    beside = (f"; of peri, end over start {told('peri', end_over_start)}, at the end itself "
              f"{told('peri', last_variance)}" if complete("peri") else "")
    return claim("depth-growth", f"pre, variance at the end over the start: "
                 f"{told('pre', end_over_start)}; at the end itself {told('pre', last_variance)}"
                 f"{beside}", joint(found))


def post_gradient(rate):
    """The gradients of runs that failed say what failing does, not what depth does. From the first
    sub-layer on: before it stands the embedding, whose gradient is 1/0.02 times as large at the
    start."""
    if not complete("post", rate=rate):
        return []

    made = lambda layers: runs_of("post", layers, rate)
    alive = lambda layers: learned(made(layers))
    dead = lambda layers: [run for run in made(layers) if run not in alive(layers)]

    def words(step, chosen):
        values = lambda layers: [first_over_last(r, step) for r in done(chosen(layers))]
        return at_depths(lambda layers: spread(values(layers), ".3g") if values(layers) else "none")

    found = pairs(alive(DEPTHS[-1]), alive(DEPTHS[0]), lambda r: log(first_over_last(r)))
    return claim("depth-post-gradient", f"post at {rate()}: gradients, hidden state behind the "
                 f"first sub-layer over the last: at the start {words(0, made)}; at the end, runs "
                 f"that learned {words(-1, alive)}, runs that failed {words(-1, dead)}",
                 verdict([-d for d in found]))


def leads(second, first, layers):
    """Loss of `second` minus that of `first`, by seed."""
    return pairs(runs_of(second, layers), runs_of(first, layers))


def lead_words(second, first):
    return at_depths(lambda layers: spread(leads(second, first, layers), "+.3f"))


def post_loss(rate):
    """A run that has failed cannot fall further behind: then nothing is contradicted."""
    if not complete("post", rate=rate) or not complete("peri"):
        return []
    behind = {layers: pairs(runs_of("post", layers, rate), runs_of("peri", layers))
              for layers in DEPTHS}
    more = [deep - shallow for shallow, deep in zip(behind[DEPTHS[0]], behind[DEPTHS[-1]])]
    fails = {layers: sum(map(failed, done(runs_of("post", layers, rate)))) for layers in DEPTHS}
    words = lambda layers: f"{spread(behind[layers], '+.3f')}, {fails[layers]} failed"
    return claim("depth-post-gradient",
                 f"loss of post at {rate()} minus peri at {shared_rate()}: {at_depths(words)}",
                 judge(verdict(more) == SHOWN,
                       not fails[DEPTHS[0]] and all(d <= 0 for d in more), [verdict(more)]))


def slopes(second, first):
    """Of the lead over log depth, by seed."""
    at = [leads(second, first, layers) for layers in DEPTHS]
    return [slope(list(map(log, DEPTHS)), by_seed) for by_seed in zip(*at)] if len(at) > 1 else []


def peri_lead():
    if not complete("pre", "peri"):
        return []
    found = slopes("pre", "peri")
    return claim("depth-loss", f"loss of pre minus peri: {lead_words('pre', 'peri')}; slope over "
                 f"log depth {spread(found, '+.3f')}{caution()}", verdict(found))


def keel_lead():
    if not complete("pre", "keel"):
        return []
    found, deepest = slopes("pre", "keel"), leads("pre", "keel", DEPTHS[-1])
    return claim("keel-depth", f"loss of pre minus keel: {lead_words('pre', 'keel')}; slope over "
                 f"log depth {spread(found, '+.3f')}",
                 judge(verdict(found) == SHOWN and all_above(deepest, 0),
                       all_below(found, 0) and verdict(deepest) == CONTRADICTED,
                       [verdict(found)]))


def keel_highway():
    """Whether KEEL's gradients reach the first sub-layer at every depth."""
    if not complete("keel"):
        return []
    words = [f"{norm} {at_depths(lambda layers: ends(norm, layers))}" for norm in ("keel", "pre",
             "peri") if complete(norm)]
    found = [verdict([log(first_over_last(r)) for r in done(runs_of("keel", layers))])
             for layers in DEPTHS]
    return claim("keel-highway", "gradient of the hidden state behind the first sub-layer over "
                 f"that behind the last, at the end: {'; '.join(words)}", joint(found))


def ends(norm, layers):
    return spread([first_over_last(r) for r in done(runs_of(norm, layers))], ".3g")


def claims():
    of_post = [found for rate in (shared_rate, posts_own)
               for found in post_gradient(rate) + post_loss(rate)]
    return peri_growth() + pre_growth() + of_post + peri_lead() + keel_lead()\
        + keel_highway()
