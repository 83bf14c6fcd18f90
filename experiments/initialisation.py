"""How large the weights start (Figure 10(c); Tables 8, 9; Figures 27 to 30). At R.

d is the model's width. The baseline, N(0, 0.02^2), is below 1/(10d) at this width.
"""
from math import log

from draw import Curve, Panel, figure
from lab import FAST, SCALES, SEEDS, runs
from learning_rate import around_shared_rate, caution, shared_rate
from measures import (all_below, between, done, end_over_start, in_training, largest, last_variance,
                      log_variance, over_layers, rank_correlation)
from verdict import CONTRADICTED, SHOWN, Claim, failed, judge, loss, pairs, spread, verdict

SECTION = "Weight decay and initialisation"
RAN = "12 x 64, 300 steps of 16 x 64 bytes at R, seeds 11 to 13"
BASELINE = "0.02^2"
WIDTH = SCALES["S64"]["width"]
# name in the paper: (--init, variance)
SETTINGS = {"10/d": ("d:10", 10 / WIDTH), "2/d": ("d:2", 2 / WIDTH), "1/d": ("d:1", 1 / WIDTH),
            "0.08^2": ("normal:0.08", 0.0064), "1/(10d)": ("d:0.1", 0.1 / WIDTH),
            BASELINE: (None, 0.0004)}
if FAST:
    SETTINGS = {name: SETTINGS[name] for name in ("10/d", "1/(10d)", BASELINE)}


def runs_of(norm, init):
    flags = {"init": init} if init else {}
    return runs("S64", (norm,), around_shared_rate(), SEEDS, **flags)


def at(norm, name):
    return runs_of(norm, SETTINGS[name][0])


def wanted():
    inits = [init for init, _ in SETTINGS.values()] + ["xavier"]
    return [run for init in inits for norm in ("pre", "peri") for run in runs_of(norm, init)]


def figures():
    growth = [Panel(f"{norm}, after training", "sub-layer", "variance of the hidden state",
                    [Curve(name, over_layers(at(norm, name), "hidden_variance"))
                     for name in SETTINGS], logy=True)
              for norm in ("pre", "peri")]
    training = [Panel(name, "step", title,
                      [Curve(norm, in_training(at(norm, name), column), norm)
                       for norm in ("pre", "peri")], logy=column == "grad_norm")
                for name in SETTINGS
                for title, column in (("loss", "loss"), ("gradient norm", "grad_norm"))]
    return [(figure("initialisation", "Initial variance and growth (Figure 10): " + RAN, growth, 2),
             "Hidden-state variance after training for each initial variance of the weights."),
            (figure("initialisation_loss", "Initial variance (Figures 27 to 30): " + RAN, training,
                    2),
             "Training loss and gradient norm for each initial variance, mean and range.")]


# ---- claims -------------------------------------------------------------------------------------

def by_seed(norm, measure):
    """[[(initial variance, measure)] of a seed], of the seeds that have every setting."""
    table = {name: {r.row["name"].split()[3]: measure(r) for r in done(at(norm, name))}
             for name in SETTINGS}
    seeds = sorted(set.intersection(*(set(column) for column in table.values())))
    return [[(SETTINGS[name][1], table[name][seed]) for name in SETTINGS] for seed in seeds]


def ranges(norm, measure):
    """Highest less lowest over the settings, by seed."""
    found = []
    for points in by_seed(norm, measure):
        values = [value for _, value in points]
        found.append(max(values) - min(values) if all(v == v for v in values) else float("nan"))
    return found


def excess(measure):
    """Pre-LN's range less Peri-LN's."""
    return [a - b for a, b in zip(ranges("pre", measure), ranges("peri", measure))]


def table(measure, form):
    """A measure of both placements at every setting, lowest and highest over the seeds."""
    return "; ".join(f"{norm} {name} {between([measure(r) for r in done(at(norm, name))], form)}"
                     for norm in ("pre", "peri") for name in SETTINGS)


def variance_claim():
    trends = {norm: [rank_correlation(*zip(*points)) for points in by_seed(norm, log_variance)]
              for norm in ("pre", "peri")}
    shown = (verdict(excess(log_variance)) == SHOWN and verdict(trends["pre"]) == SHOWN
             and all_below(ranges("peri", log_variance), log(10)))
    words = [f"{norm} rank correlation with the initial variance {spread(trends[norm], '+.2f')}, "
             f"range {spread(ranges(norm, log_variance), '.1f')} e-folds"
             for norm in ("pre", "peri")]
    largest_entry = lambda r: largest(r)[0]
    return [Claim("init-variance", RAN, f"{'; '.join(words)}. Last variance: "
                  f"{table(last_variance, '.3g')}. End over start: {table(end_over_start, '.2g')}. "
                  f"Largest |x|: {table(largest_entry, '.3g')}",
                  judge(shown, all_below(excess(log_variance), 0),
                        [verdict(excess(log_variance))]))]


def loss_claims():
    """The three parts of the claim."""
    found = [verdict(pairs(at("pre", name), at("peri", name))) for name in SETTINGS]
    half = [a / 2 - b for a, b in zip(ranges("pre", loss), ranges("peri", loss))]
    top = done(at("pre", "10/d"))
    lost = sum(map(failed, top))
    return [Claim("init-loss", RAN, f"ahead: loss, {table(loss, '.3f')}{caution()}",
                  judge(all(v == SHOWN for v in found), found.count(CONTRADICTED) >= 2, found)),
            Claim("init-loss", RAN, "hardly sensitive, its range over the settings at most half of "
                  f"Pre-LN's: peri {spread(ranges('peri', loss))}, pre "
                  f"{spread(ranges('pre', loss))}", verdict(half)),
            Claim("init-loss", RAN, f"Pre-LN fails at 10/d: {lost} of {len(top)} runs",
                  judge(top and lost == len(top), top and not lost))]


def xavier_claims():
    found = []
    for title, norm in (("Pre-LN", "pre"), ("Peri-LN", "peri")):
        gains = pairs(runs_of(norm, None), runs_of(norm, "xavier"))
        found.append(Claim("init-xavier", RAN, f"{title}: lower by {spread(gains)}",
                           verdict(gains)))
    return found


def claims():
    if not shared_rate() or not done(runs_of("pre", "xavier")):
        return []
    return variance_claim() + loss_claims() + xavier_claims()
