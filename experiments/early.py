"""Early instability, divergence, and what Pre-LN's variance has to do with them (Figure 4, Tables
10 to 12).

All from the runs of learning_rate.py and seeds.py (and, for the correlations, weight_decay.py and
initialisation.py).
"""
from functools import lru_cache
from math import log

from draw import Curve, Panel, figure
from lab import LATER, SEEDS, STEPS, THREE, finished, placements, runs, wide_results
from learning_rate import grid, shared_rate, times
from measures import done, last_variance, rank_correlation, rises, spikes
from seeds import at_shared_rate
from verdict import Claim, failed, judge, loss

SECTION = "Early instability and seeds"
RAN = "12 x 64, 300 steps of 16 x 64 bytes"
HALF = STEPS // 2


def wanted():
    return []


def needs(run):
    """Of every recipe's runs of Pre-LN: what came before a failure."""
    return {"watch": 50} if run.norm == "pre" else {}


def figures():
    panels = []
    for norm, factor in (("pre", 1), ("pre", 1 / 2), ("pre", 1 / 4), ("peri", 1)):
        for column, y in (("loss", "training loss"), ("grad_norm", "gradient norm")):
            curves = [Curve(f"seed {run.seed}", [point for point in r.series(column)
                                                 if point[0] <= HALF])
                      for run, r in finished(at_shared_rate(norm, factor))]
            rate = times(shared_rate(), factor) if shared_rate() else "R"
            panels.append(Panel(f"{norm} at {rate}: {y}", "step", y, curves,
                                logy=column == "grad_norm"))
    return [(figure("early", f"The first half of training (Figure 4): {RAN}", panels, 2),
             "Training loss and gradient norm in the first half of the run, a curve a seed.")]


# ---- claims -------------------------------------------------------------------------------------

@lru_cache(maxsize=None)
def eventful(r):
    """Whether the first half of the run has a spike, or a rise of the loss."""
    return bool(spikes(r, last=HALF) or rises(r, HALF))


def told(made):
    """(runs with events, in words)"""
    count = sum(map(eventful, made))
    kinds = [sum(bool(spikes(r, last=HALF)) for r in made),
             sum(bool(rises(r, HALF)) for r in made)]
    return count, f"{count} of {len(made)} runs ({kinds[0]} with spikes, {kinds[1]} with rises)"


def early_instability():
    seeds = SEEDS + LATER
    pre, peri = (done(at_shared_rate(norm, seeds=seeds)) for norm in ("pre", "peri"))
    if len(pre) < len(seeds) or len(peri) < len(seeds):
        return []
    (of_pre, words), (of_peri, other) = told(pre), told(peri)
    return [Claim("early-instability", f"{RAN}, rate {shared_rate()}, seeds 11 to 20",
                  f"events in the first half: pre {words}, peri {other}",
                  judge(of_pre - of_peri >= 3, of_peri - of_pre >= 3))]


def lower_rate():
    at = {factor: done(at_shared_rate("pre", factor)) for factor in (1, 1 / 2, 1 / 4)}
    if any(len(made) < len(LATER) for made in at.values()):
        return []
    counts = {factor: told(made) for factor, made in at.items()}
    control = {factor: told(done(at_shared_rate("peri", factor))) for factor in at}
    words = [f"at {times(shared_rate(), factor)} pre {words}, peri {control[factor][1]}"
             for factor, (_, words) in counts.items()]
    most, least = counts[1][0], counts[1 / 4][0]
    own = most - control[1][0] >= 3  # else there is no instability of Pre-LN's to cure
    return [Claim("lower-rate-no-cure", f"{RAN}, seeds 14 to 20, Peri-LN as the control",
                  "events in the first half: " + "; ".join(words),
                  judge(own and least > most / 3, own and least <= most / 3))]


def divergence_counts():
    rates = sorted({rate for norm in THREE for rate in grid(norm)}, key=float)
    made = lambda norm, rate: done(runs("S64", (norm,), (rate,), SEEDS))
    shared = [rate for rate in rates if all(len(made(norm, rate)) == len(SEEDS) for norm in THREE)]
    if not shared:
        return []
    lost = {norm: [sum(map(failed, made(norm, rate))) for rate in shared] for norm in placements()}
    ended = {norm: sum(r.diverged for rate in shared for r in made(norm, rate)) for norm in THREE}
    words = [f"{norm} {sum(lost[norm])} ({' '.join(map(str, lost[norm]))}; exit code 3: "
             f"{ended[norm]})" for norm in THREE]
    words += [f"{norm} {sum(lost[norm])}" for norm in placements() if norm not in THREE]
    more = sum(lost["pre"]) - sum(lost["peri"])
    return [Claim("divergence-counts", f"{RAN}, seeds 11 to 13, rates {' '.join(shared)}",
                  "runs lost, and how many of three at each rate: " + ", ".join(words),
                  judge(more >= 3 and sum(lost["pre"]) > sum(lost["post"]), more <= -3))]


# ---- variance-drives-instability ----------------------------------------------------------------

def settings_of_pre():
    """The results of Pre-LN's runs at 12 x 64, those that differ in the seed alone together."""
    groups = {}
    for name, r in wide_results().items():
        scale, norm, rate, _, *flags = name.split()
        kinds = {flag.split("=")[0] for flag in flags}
        if (scale, norm) == ("S64", "pre") and kinds <= {"init", "weight_decay"}:
            groups.setdefault((rate, *flags), []).append(r)
    return [group for group in groups.values() if len(group) >= 3]


def early_growth(r):
    """Of the last sub-layer's log variance, in the first 100 steps of 300."""
    start, then = last_variance(r, 0), last_variance(r, STEPS // 3)
    return log(then / start) if then > 0 else float("nan")


def correlations(group):
    """Over the seeds, of the early growth with later spikes and with the final loss."""
    growth = [early_growth(r) for r in group]
    later = [spikes(r, first=STEPS // 3 + 1) for r in group]
    return rank_correlation(growth, later), rank_correlation(growth, list(map(loss, group)))


def variance_drives():
    groups = settings_of_pre()
    found = [pair for pair in map(correlations, groups) if pair[0] == pair[0]]  # have spikes
    if not found:
        return []
    count = lambda sign: sum(sign * a > 0 and sign * b > 0 for a, b in found)
    enough, most = len(found) >= 3, len(found) / 2
    mean_of = lambda i: sum(pair[i] for pair in found) / len(found)
    return [Claim("variance-drives-instability", f"Pre-LN, {RAN}, {len(groups)} settings",
                  f"rank correlation over seeds in the {len(found)} settings with spikes: with "
                  f"spikes {mean_of(0):+.2f}, with loss {mean_of(1):+.2f} on average; both "
                  f"positive in {count(1)}, both negative in {count(-1)}",
                  judge(enough and count(1) > most, enough and count(-1) > most))]


def claims():
    return early_instability() + lower_rate() + divergence_counts() + variance_drives()
