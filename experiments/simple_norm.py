"""SimpleNorm's tolerance of high rates and its loss (SimpleGPT, arXiv 2602.01212).

From the runs of learning_rate.py, seeds.py and ramp.py, and some of `simple` without its own
initialisation.
"""
from draw import Panel, figure
from lab import FAST, SEEDS, runs
from learning_rate import (QK, RAN, around_shared_rate, best_rate, curve, grid, mean_loss, runs_of,
                           workable)
from measures import all_above, all_below, done, enough
from ramp import limit, ramp
from seeds import RAN as RAN_LATER
from seeds import at_best
from verdict import Claim, interval, judge, loss, pairs, spread, verdict

SECTION = "KEEL and SimpleNorm"
RAN_RAMP = "12 x 64, 500 steps of 16 x 64 bytes, rising to 5e-2, seeds 11 to 13"
USUAL = (("pre", {}), ("pre --qk-norm full", QK))
# Where the rates of learning_rate.py end none of these fails.
BEYOND = () if FAST else ("1.28e-1", "2.56e-1", "5.12e-1")


def plain_init():
    """SimpleNorm at 4R with the initial values that every other placement has."""
    return runs("S64", ("simple",), around_shared_rate(4), SEEDS, init="normal:0.02")


def wanted():
    return plain_init() + [run for norm, flags in (("simple", {}), ("pre", {}), ("pre", QK))
                           for rate in BEYOND for run in runs_of(norm, rate, **flags)]


def figures():
    curves = [curve("simple", beyond=BEYOND), curve("peri"), curve("pre", beyond=BEYOND),
              curve("pre", label="pre --qk-norm full", beyond=BEYOND, **QK)]
    return [(figure("simple_norm", f"SimpleNorm and learning rate: {RAN['S64']}",
                    [Panel("SimpleNorm", "peak learning rate", "validation loss (nats a byte)",
                           curves, logx=True)], 1),
             "Validation loss against the peak learning rate, mean and range over the seeds; a run "
             "that failed counts as 3.2.")]


# ---- claims -------------------------------------------------------------------------------------

def by_seed(norm, **flags):
    """The highest workable rate with each seed; 0 where there is none."""
    return [float(workable(norm, (seed,), BEYOND, **flags) or 0) for seed in SEEDS
            if done(run for run in runs_of(norm, grid(norm, **flags)[0], **flags)
                    if run.seed == seed)]


def tolerated(norm, **flags):
    """The highest rate at which the loss is within 0.1 of the best rate's. Told only: thought of
    with the runs in view."""
    means = {rate: mean_loss(norm, rate, **flags) for rate in (*grid(norm, **flags), *BEYOND)}
    lowest = min(filter(None, means.values()))
    return max((rate for rate in means if means[rate] and means[rate] <= lowest + 0.1), key=float)


def rate_in_sweep(label, flags):
    simple, usual = by_seed("simple"), by_seed("pre", **flags)
    ratios = [a / b for a, b in zip(simple, usual) if b]
    if not ratios or len(simple) < len(SEEDS):
        return []
    top = max(float(rate) for rate in (*grid("pre", **flags), *BEYOND)
              if done(runs_of("pre", rate, **flags)))  # of what lies beyond nothing is known
    bounded = max(usual) < top
    plain = [loss(r) for r in done(plain_init())]
    return [Claim("simple-rate", RAN["S64"],
                  f"sweep, over {label}: highest workable rate, simple {spread(simple, '.3g')}, "
                  f"{label} {spread(usual, '.3g')}{'' if bounded else ', the highest tried'}, "
                  f"ratio {spread(ratios, '.3g')}; best rates {best_rate('simple')} and "
                  f"{best_rate('pre', **flags)}; within 0.1 nats of these up to "
                  f"{tolerated('simple')} and {tolerated('pre', **flags)} (no verdict rests on "
                  f"that); simple with N(0, 0.02^2) at 4R: {spread(plain)}",
                  judge(bounded and enough(ratios) and min(ratios) >= 3,
                        bounded and enough(ratios) and max(ratios) <= 1))]


def rate_in_ramp(label, flags):
    simple, usual = ({run.seed: limit(r) for run in made for r in done([run])}
                     for made in (ramp("simple"), ramp("pre", **flags)))
    ratios = [simple[seed] / usual[seed] for seed in simple if usual.get(seed)]
    if not ratios:
        return []
    return [Claim("simple-rate", RAN_RAMP,
                  f"ramp, over {label}: simple {spread(list(simple.values()), '.3g')}, {label} "
                  f"{spread(list(usual.values()), '.3g')}, ratio {spread(ratios, '.3g')}",
                  judge(all_above(ratios, 2.99), all_below(ratios, 1)))]


def simple_loss():
    claims = []
    for norm, flags in (("pre", QK), ("peri", QK), ("peri", {})):
        leads = pairs(at_best(norm, **flags), at_best("simple"))
        if not leads:
            continue
        label = norm + (" --qk-norm full" if flags else "")
        losses = [spread(list(map(loss, done(made))))
                  for made in (at_best("simple"), at_best(norm, **flags))]
        claims.append(Claim("simple-loss", RAN_LATER,
                            f"against {label}: simple {losses[0]}, {label} {losses[1]}, lead "
                            f"{spread(leads, '+.3f')}", verdict(leads)))
    return claims + equal_initialisation()


def equal_initialisation():
    """SimpleNorm's own has an embedding of standard deviation 1. First all have N(0, 0.02^2), then
    Peri-LN a larger one, SimpleNorm its own and its best rate."""
    at_fourfold = lambda norm, **flags: runs("S64", (norm,), around_shared_rate(4), SEEDS, **flags)
    large = runs("S64", ("peri",), around_shared_rate(), SEEDS, init="normal:0.08")
    settings = [(f"all with N(0, 0.02^2) at 4R, against {label}", plain_init(),
                 at_fourfold(norm, **flags)) for label, norm, flags in
                (("pre --qk-norm full", "pre", QK), ("peri", "peri", {}))]
    if best := best_rate("simple"):
        settings.append((f"simple as it is at {best}, its best, against peri with N(0, 0.08^2) at "
                         "R", runs_of("simple", best), large))
    found = []
    for title, simple, usual in settings:
        if leads := pairs(usual, simple):
            losses = [spread(list(map(loss, done(made)))) for made in (simple, usual)]
            found.append(Claim("simple-loss", RAN["S64"], f"{title}: {losses[0]} against "
                               f"{losses[1]}, lead {interval(leads)}", verdict(leads)))
    return found


def claims():
    found = []
    for label, flags in USUAL:
        found += rate_in_sweep(label, flags) + rate_in_ramp(label, flags)
    return found + simple_loss()
