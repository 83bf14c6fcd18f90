"""Hidden states begun larger or smaller, the function the same: whether their size makes Pre-LN
unstable (Section 4.3; beyond the paper)."""
from math import log

from draw import Curve, Panel, band, figure
from early import HALF
from lab import FAST, LATER, SEEDS, runs
from measures import done, end_over_start, last_variance, smooth, spikes, stretches
from verdict import OPEN, Claim, beyond, interval, loss, pairs, spread, verdict

SECTION = "The size of hidden states"
RAN = "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 20"
BY_SEED = True  # report.py does the runs of a seed before those of the next
TEN = SEEDS if FAST else (*SEEDS, *LATER)
R, HIGH = "4e-3", "1.6e-2"
SCALES = ("0.25", "1", "4", "16")
EVENTS = 10  # that a verdict on them needs
COLOURS = dict(zip(SCALES, ("#1a1a1a", "#7a4a1e", "#bc8f5f", "#8a8a8a")))  # no placement's


def runs_of(norm, rate, scale, seeds=TEN):
    flags = {} if scale == "1" else {"state_scale": scale}
    return runs("S64", (norm,), (rate,), seeds, **flags)


def wanted():
    return [run for seed in TEN
            for norm, rate, scales in (("pre", R, SCALES), ("pre", HIGH, SCALES),
                                       ("peri", HIGH, (SCALES[1], SCALES[-1])))
            for scale in scales for run in runs_of(norm, rate, scale, (seed,))]


def needs(run):
    """What grows in between, of the runs with other scales too."""
    return {"watch": 50} if "state_scale" in dict(run.flags) else {}


def events(r):
    """Spikes of the gradient norm and rises of the loss in the first half."""
    return spikes(r, last=HALF) + stretches(r, HALF)


def growth(r):
    value = end_over_start(r)
    return log(value) if value > 0 else value


# ---- figures ------------------------------------------------------------------------------------

def variance(rate, scale):
    return Curve(f"times {scale}", band([[(step, last_variance(r, step)) for step in r.steps]
                                         for r in done(runs_of("pre", rate, scale))]),
                 COLOURS[scale])


def losses(rate, scale):
    return Curve(f"times {scale}", band([smooth(r.series("loss"))
                                         for r in done(runs_of("pre", rate, scale))]), COLOURS[scale])


def figures():
    if not any(done(runs_of("pre", R, scale)) for scale in SCALES if scale != "1"):
        return []
    panels = [Panel(f"Pre-LN at {rate}: {title}", "step", title,
                    [curve(rate, scale) for scale in SCALES], logy=logy)
              for rate in (R, HIGH) for title, curve, logy in
              (("variance of the last hidden state", variance, True), ("loss (nats a byte)", losses, False))]
    return [(figure("scale", f"Hidden states begun at other sizes, the function the same: {RAN}", panels, 2),
             "Variance of what leaves Pre-LN's last sub-layer, and training loss, with hidden states that "
             "begin at a quarter to 16 times the usual size; mean and range over the seeds.")]


# ---- claims -------------------------------------------------------------------------------------

def row(name, title, more, found, form="+.3f"):
    return [Claim(name, RAN, f"{title}: {interval(more, form)}", found)] if len(more) > 1 else []


def claims():
    found, last = [], SCALES[-1]
    for rate in (R, HIGH):
        usual, large = (runs_of("pre", rate, scale) for scale in ("1", last))
        more = pairs(large, usual, events)
        counts = [[events(r) for r in done(made)] for made in (usual, large)]
        few = sum(map(sum, counts)) < EVENTS
        found += row("scale-instability", f"{rate}: events a run {spread(counts[0], '.1f')} at 1, "
                     f"{spread(counts[1], '.1f')} at {last}; more", more,
                     OPEN if few else beyond(more, len(TEN)), "+.2f")
        less = pairs(usual, large, growth)
        found += row("scale-growth", f"{rate}: logarithm of the growth at 1 over that at {last}", less,
                     verdict(less, len(TEN)), "+.2f")
        for scale in (last, SCALES[0]):
            better = pairs(usual, runs_of("pre", rate, scale), loss)
            found += row("scale-loss", f"Pre-LN, {rate}: loss at 1 less at {scale}", better,
                         verdict(better, len(TEN)))
    better = pairs(*(runs_of("peri", HIGH, scale) for scale in ("1", last)))
    return found + row("scale-loss", f"Peri-LN, {HIGH}: loss at 1 less at {last}", better,
                       verdict(better, len(TEN)))
