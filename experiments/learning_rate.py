"""Loss against learning rate, and each placement's best rate (Figures 3(a), 12).

Every placement at rates that double, three seeds. `best_rate` and
`shared_rate` are what later recipes use.
"""
from math import floor, log10
from statistics import mean

from draw import Curve, Panel, figure
from lab import FAST, RATES, SEEDS, placements, runs
from measures import FIVE, done
from verdict import (CONTRADICTED, SHOWN, Claim, failed, interval, joint, judge, loss, pairs,
                     spread, verdict)

SECTION = "Learning rate and loss"
RAN = {"S64": "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 13",
       "S128": "12 x 128, 300 steps of 16 x 64 bytes, seeds 11 to 13"}
# Where the search for the best rate begins; at 12 x 128 with growth.py's runs.
GRIDS = {"S64": RATES, "S128": ("2e-3",) if FAST else ("1e-3", "2e-3", "4e-3", "8e-3")}
QK = {"qk_norm": "full"}


def wanted():
    """Grows with what has been found: see `grid`."""
    swept = [(norm, {}) for norm in placements()] + [("pre", QK)]
    return ([run for norm, flags in swept for rate in grid(norm, **flags)
             for run in runs_of(norm, rate, **flags)]
            + [run for norm in ("pre", "peri") for rate in grid(norm, "S128")
               for run in runs_of(norm, rate, "S128")])


def runs_of(norm, rate, scale="S64", **flags):
    return runs(scale, (norm,), (rate,), SEEDS, probe=50 if scale == "S128" else 0, **flags)


# ---- best rates ---------------------------------------------------------------------------------

def times(rate, factor):
    """The name of a rate that is so many times another: times("8e-3", 2) is "1.6e-2"."""
    value = float(rate) * factor
    exponent = floor(log10(value) + 1e-9)
    return f"{value / 10 ** exponent:.3g}e{exponent}"


def mean_loss(norm, rate, scale="S64", **flags):
    """None until all seeds are there."""
    found = done(runs_of(norm, rate, scale, **flags))
    return mean(map(loss, found)) if len(found) == len(SEEDS) else None


def lowest(norm, rates, scale="S64", **flags):
    """The rate with the lowest mean loss over SEEDS; None until all rates are there."""
    losses = {rate: mean_loss(norm, rate, scale, **flags) for rate in rates}
    return None if None in losses.values() else min(losses, key=losses.get)


def grid(norm, scale="S64", **flags):
    """The rates that are tried: one more beyond an end for as long as that end is the best."""
    rates = list(GRIDS[scale])
    while not FAST:
        best = lowest(norm, rates, scale, **flags)
        if best == rates[0]:
            rates.insert(0, times(best, 1 / 2))
        elif best == rates[-1]:
            rates.append(times(best, 2))
        else:
            break
    return rates


def best_rate(norm, scale="S64", **flags):
    """None until all rates of its grid are there."""
    return lowest(norm, grid(norm, scale, **flags), scale, **flags)


def shared_rate():
    """Pre-LN's best rate, at which the paper trains Pre-LN and Peri-LN (Section 4.2): claims.md's
    R."""
    return best_rate("pre")


def around_shared_rate(*factors):
    """That rate times each factor, itself without any; nothing while it is not known."""
    rate = shared_rate()
    return tuple(times(rate, factor) for factor in factors or (1,)) if rate else ()


def workable(norm, seeds=SEEDS, beyond=(), **flags):
    """The highest rate of the grid, and of those beyond, at which no seed failed; None if there is
    none, or no run."""
    found = [rate for rate in (*grid(norm, **flags), *beyond)
             if (made := done(run for run in runs_of(norm, rate, **flags) if run.seed in seeds))
             and len(made) == len(seeds) and not any(map(failed, made))]
    return max(found, key=float, default=None)


# ---- figures ------------------------------------------------------------------------------------

def curve(norm, scale="S64", label=None, beyond=(), **flags):
    points = []
    for rate in (*grid(norm, scale, **flags), *beyond):
        losses = [loss(r) for r in done(runs_of(norm, rate, scale, **flags))]
        if losses:
            points.append((float(rate), mean(losses), min(losses), max(losses)))
    return Curve(label or norm, points, norm, dashed=bool(flags), marks=True)


def figures():
    panel = lambda title, curves: Panel(title, "peak learning rate",
                                        "Validation loss (nats a byte)", curves, logx=True)
    three = [curve(norm) for norm in ("post", "pre", "peri")]
    ten = [curve(norm) for norm in placements()] + [curve("pre", label="pre --qk-norm full", **QK)]
    wide = [curve(norm, "S128") for norm in ("pre", "peri")]
    panels = [panel("the paper's three", three), panel("all ten", ten),
              panel("12 x 128, 16 x 64 bytes a step", wide)]
    return [(figure("learning_rate", "Loss against learning rate (Figures 3(a), 12): " + RAN["S64"],
                    panels, 2),
             "Validation loss against the peak learning rate, mean and range over the seeds; a run "
             "that failed counts as 3.2.")]


# ---- the embedding norm, which Peri-LN alone has unless told otherwise --------------------------

def same_embedding(which="on"):
    """Pre-LN's loss less Peri-LN's at R by seed, the embedding norm on (or off) in both."""
    flags = {"pre": {"embedding_norm": "on"} if which == "on" else {},
             "peri": {} if which == "on" else {"embedding_norm": "off"}}
    pre, peri = (runs("S64", (norm,), around_shared_rate(), FIVE, **flags[norm]) for norm in flags)
    return pairs(pre, peri)


def caution():
    """What stands beside every lead of Peri-LN over Pre-LN."""
    lead = same_embedding()
    if not lead:
        return ""
    return (f". The embedding norm is Peri-LN's alone here; with one in both, at {shared_rate()} "
            f"and 12 x 64, the lead is {interval(lead)}: {verdict(lead, len(FIVE))}")


# ---- claims -------------------------------------------------------------------------------------

def lead_same_embedding():
    lead = same_embedding()
    if not lead:
        return []
    off = same_embedding("off")
    return [Claim("lead-same-embedding", "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 15, "
                  f"rate {shared_rate()}",
                  f"loss of pre minus peri, the embedding norm on in both: "
                  f"{interval(lead)}; off in both: {interval(off)}", verdict(lead, len(FIVE)))]


def peri_below_pre(scale):
    words, found = [], []
    for rate in sorted({*grid("pre", scale), *grid("peri", scale)}, key=float):
        leads = pairs(runs_of("pre", rate, scale), runs_of("peri", rate, scale))
        if not leads:
            continue
        if set(leads) == {0}:
            words.append(f"at {rate} all of both fail")
            continue  # nothing to compare
        found.append(verdict(leads))
        words.append(f"at {rate} {spread(leads, '+.3f')}, {found[-1]}")
    if not found:
        return []
    against = found.count(CONTRADICTED) >= len(found) / 2
    return [Claim("rate-peri-below-pre", RAN[scale],
                  f"12 x {scale[1:]}, loss of pre minus peri: " + "; ".join(words) + caution(),
                  judge(joint(found) == SHOWN, against, found))]


def best_alike_over_sizes():
    best = {norm: [best_rate(norm, scale) for scale in ("S64", "S128")] for norm in ("pre", "peri")}
    if None in best["pre"]:
        return []
    apart = lambda a, b: max(float(a), float(b)) / min(float(a), float(b))
    far = apart(*best["pre"])
    words = [f"{norm} {small} at width 64, {large or 'not run'} at 128"
             for norm, (small, large) in best.items()]
    return [Claim("rate-best-alike-over-sizes", f"{RAN['S64']}; {RAN['S128']}",
                  "best rates: " + "; ".join(words),
                  judge(far < 2.1, far > 3.9))]  # a step is a factor of two


def post_lower():
    three = ("post", "pre", "peri")
    best = {norm: best_rate(norm) for norm in three}
    limit = {norm: workable(norm) for norm in three}
    if None in best.values():
        return []
    below = [float(best["post"]) < float(best[norm]) for norm in ("pre", "peri")]
    highest = {norm: float(rate or 0) for norm, rate in limit.items()}
    much = all(3.9 * highest["post"] < highest[norm] for norm in ("pre", "peri"))
    words = [f"{norm} best {best[norm]}, workable up to {limit[norm] or 'none'}" for norm in three]
    return [Claim("rate-post-lower", RAN["S64"], "; ".join(words),
                  judge(all(below) and much, not any(below)))]


def claims():
    return (peri_below_pre("S64") + peri_below_pre("S128") + lead_same_embedding()
            + best_alike_over_sizes() + post_lower())
