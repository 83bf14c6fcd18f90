"""Twenty seeds for the claims on noise: spread, spikes, early events; clipped and not, at two
initialisations (beyond the paper).
"""
from math import exp, log
from statistics import stdev

from causes import dot_panel, missing
from draw import Curve, figure
from early import eventful
from lab import FAST, LATER, SEEDS, finished, runs
from learning_rate import around_shared_rate
from measures import done, rises, spikes
from seeds import left_out
from verdict import OPEN, Claim, beyond, failed, interval, loss, share_interval, spread, test

SECTION = "Twenty seeds"
TWENTY = SEEDS + LATER + (() if FAST else tuple(range(21, 31)))
RAN = "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 30"
BY_SEED = True
NORMS = ("pre", "peri")
EVENTS = 10  # that a verdict needs in all
LARGER = "12 x 256, 16 x 256 bytes a step (about 20 core-minutes a run); no more seeds, as was said before the runs"
# (factor on R, initialisation, clip)
AT_R = [(1, init, clip) for init in ("0.02", "0.08") for clip in (1, 0)]
SETTINGS = AT_R + [(1 / 2, "0.02", 1), (1 / 4, "0.02", 1), (4, "0.02", 0)]


def runs_of(norm, setting, seeds=TWENTY):
    factor, init, clip = setting
    flags = ({} if init == "0.02" else {"init": f"normal:{init}"}) | ({} if clip else {"clip": "0"})
    return runs("S64", (norm,), around_shared_rate(factor), seeds, **flags)


def wanted():
    return sorted((run for setting in SETTINGS for norm in NORMS for run in runs_of(norm, setting)),
                  key=lambda run: run.seed)


def words(setting):
    rate = {1: "R", 1 / 2: "R/2", 1 / 4: "R/4", 4: "4R"}[setting[0]]
    return f"{rate}, {setting[1]}, {'clip 1' if setting[2] else 'no clip'}"


def lost(r):
    """Whether it failed, or its loss rose."""
    return failed(r) or bool(rises(r))


# ---- figures ------------------------------------------------------------------------------------

def shares(norm, shift):
    """Of the runs of each setting: how many had events early, with the exact interval."""
    points = []
    for row, setting in enumerate(SETTINGS):
        if made := done(runs_of(norm, setting)):
            count = sum(map(eventful, made))
            points.append((count / len(made), len(SETTINGS) - row + shift,
                           *share_interval(count, len(made))))
    return Curve(norm, points, norm, bars=True)


def losses(norm, shift):
    points = [(loss(r), len(AT_R) - row + shift) for row, setting in enumerate(AT_R)
              for r in done(runs_of(norm, setting))]
    return Curve(norm, [(x, y, x, x) for x, y in points], norm, bars=True)


def begun():
    """Whether there is more than other recipes made."""
    return any(done(runs_of("pre", setting)) for setting in SETTINGS if not setting[2])


def figures():
    if not begun():
        return []
    sides = list(zip(NORMS, (0.12, -0.12)))
    panels = [dot_panel("runs with events in the first half", "share of the runs",
                        map(words, SETTINGS), [shares(*side) for side in sides], zero=False),
              dot_panel("loss, a dot a seed", "validation loss (nats a byte)", map(words, AT_R),
                        [losses(*side) for side in sides], zero=False)]
    return [(figure("twenty", f"Twenty seeds: {RAN}", panels, 2),
             "Left: share of the runs that had a spike or a rise early, with exact 95 % intervals. "
             "Right: loss of every run.")]


def overview():
    return missing(wanted()) if begun() else []


# ---- claims -------------------------------------------------------------------------------------

def counted(norm, setting, count):
    """"pre at R, 0.02, clip 1: 9 of 20 runs (0.23 to 0.68)", with the exact interval."""
    found = [count(r) for r in done(runs_of(norm, setting))]
    some = sum(map(bool, found))
    low, high = share_interval(some, len(found))
    return (f"{norm} at {words(setting)}: {some} of {len(found)} runs ({low:.2f} to {high:.2f})"
            + (f", {spread(found, '.1f')} a run" if max(found) > 1 else ""))


def differences(count, first, second, weight=1):
    """By seed, and how many there are of what is counted in both (placement, setting)."""
    one, other = ({run.seed: int(count(r)) for run, r in finished(runs_of(*side))}
                  for side in (first, second))
    return ([weight * one[seed] - other[seed] for seed in one if seed in other],
            sum(one.values()) + sum(other.values()))


def compared(name, count, first, second, weight=1, sure=True):
    """That more is counted, times the weight, in the first of the two."""
    found, events = differences(count, first, second, weight)
    if len(found) < 2:
        return []
    few = "" if events >= EVENTS else f"; only {events} in all, {EVENTS} are needed"
    return [Claim(name, RAN, f"{counted(*first, count)}; {counted(*second, count)}; "
                  f"{f'{weight} x ' * (weight != 1)}the first less the second "
                  f"{interval(found)}{few}",
                  beyond(found, wanted=len(TWENTY)) if sure and not few else OPEN, LARGER)]


def seed_spread(setting):
    """By the jackknife: the mean of n t - (n - 1) t_i, t being the logarithm of the ratio of
    standard deviations and t_i the same without seed i."""
    pre, peri = ({run.seed: loss(r) for run, r in finished(runs_of(norm, setting))}
                 for norm in NORMS)
    seeds = [seed for seed in pre if seed in peri]
    pre, peri = ([at[seed] for seed in seeds] for at in (pre, peri))
    n = len(seeds)
    if n < 3 or not all(left_out(pre) + left_out(peri)):
        return []
    whole = log(stdev(peri) / stdev(pre))
    pseudo = [n * whole - (n - 1) * log(b / a) for a, b in zip(left_out(pre), left_out(peri))]
    found = test(pseudo)
    return [Claim("twenty-spread", RAN,
                  f"{words(setting)}: standard deviation of the loss, pre {stdev(pre):.4f}, peri "
                  f"{stdev(peri):.4f}, ratio {exp(whole):.2f}; by the jackknife {exp(found.mean):.2f} "
                  f"(95 % interval {exp(found.low):.2f} to {exp(found.high):.2f}, n = {n}; effect: "
                  f"logarithm of one half less that of the ratio)",
                  beyond([log(1 / 2) - value for value in pseudo], wanted=len(TWENTY)), LARGER)]


def lower_rate():
    pre, peri = (("pre", AT_R[0]), ("peri", AT_R[0]))
    own, _ = differences(eventful, pre, peri)
    return compared("twenty-rate", eventful, ("pre", (1 / 4, "0.02", 1)), pre, weight=3,
                    sure=len(own) > 1 and test(own).low > 0)


def claims():
    if not begun():
        return []
    found = [claim for setting in AT_R if setting[2] for claim in seed_spread(setting)]
    for name, count in (("twenty-spikes", spikes), ("twenty-early", eventful)):
        for setting in AT_R:
            found += compared(name, count, ("pre", setting), ("peri", setting))
    for init in ("0.02", "0.08"):
        found += compared("twenty-clip", eventful, ("pre", (1, init, 0)), ("pre", (1, init, 1)))
    for clip in (1, 0):
        found += compared("twenty-initialisation", eventful, ("pre", (1, "0.02", clip)),
                          ("pre", (1, "0.08", clip)))
    fast = (4, "0.02", 0)
    return found + lower_rate() + compared("twenty-failures", lost, ("pre", fast), ("peri", fast))
