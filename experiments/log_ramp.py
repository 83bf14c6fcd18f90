"""How high a rate may go that rises by the same factor at each step (KEEL's Table 1, ramp.py)."""
from math import log, log10
from statistics import mean

from causes import missing
from draw import Curve, Panel, band, figure
from lab import FAST, SEEDS, placements, runs
from measures import done, sliding_mean
from verdict import FAILED_ABOVE, Claim, interval, pairs, verdict

SECTION = "KEEL's rows"
FIRST, LAST, STEPS = 1e-4, 1.0, 30 if FAST else 5000
RAN = "5,000 steps of 4 x 64 bytes, rate from 1e-4 to 1, seeds 11 to 13"
BY_SEED = True  # report.py does the runs of a seed before those of the next
SHOWN = 4  # nats: what has left goes to hundreds, beside which no other line shows
WINDOW, LEFT = 3 if FAST else 100, 0.2  # a mean of so many steps, so many nats above its lowest: left
NORMS = {12: None, 64: ("post", "deep", "mix", "pre", "keel", "peri")}  # None: all ten
ORDER = (("keel", "pre"), ("pre", "mix"), ("pre", "deep"), ("pre", "post"))


def ramp(norm, layers, seeds=SEEDS):
    depth = {} if layers == 12 else {"layers": layers}
    return runs("S64", (norm,), ("1e-4",), seeds, decay="exponential", min_lr="1e4", warmup=0,
                steps=5000, batch=4, **depth)


def norms(layers):
    return NORMS[layers] or placements()


def wanted():
    return [run for layers in NORMS for norm in norms(layers) for run in ramp(norm, layers)]


def rate_at(step):
    return FIRST * (LAST / FIRST) ** (step / STEPS)


def smoothed(r):
    series = r.series("loss")  # of a long run every tenth step
    every = series[1][0] - series[0][0] if len(series) > 1 else 1
    return sliding_mean(series, max(1, WINDOW // every))


def limit(r):
    """The rate at which the loss was last near its lowest value so far, before leaving for good; FIRST where it
    never learned more than how often each byte occurs."""
    lowest, stayed = float("inf"), 0
    for step, value in smoothed(r):
        lowest = min(lowest, value) if value == value else lowest
        if value <= lowest + LEFT:
            stayed = step
    return rate_at(stayed) if lowest <= FAILED_ABOVE else FIRST


# ---- figures ------------------------------------------------------------------------------------

def curve(norm, layers):
    by_rate = [[(rate_at(step), value) for step, value in smoothed(r) if value <= SHOWN] for r in done(ramp(norm, layers))]
    return Curve(norm, band(by_rate), norm)


def figures():
    panels = [Panel(f"{layers} layers", "learning rate", "training loss (nats a byte)",
                    [curve(norm, layers) for norm in norms(layers)], logx=True) for layers in NORMS]
    if not any(c.points for panel in panels for c in panel.curves):
        return []
    return [(figure("log_ramp", f"Loss under a rate that rises to 1: width 64, {RAN}", panels, 2),
             "Training loss, a mean of 100 steps, while the rate rises by the same factor at each step; mean and "
             f"range over the seeds, where none is above {SHOWN} nats.")]


def overview():
    found = {norm: {layers: [limit(r) for r in done(ramp(norm, layers))] for layers in NORMS} for norm in norms(12)}
    rows = [(-mean(map(log, at[12])), norm, at) for norm, at in found.items() if at[12]]
    if not rows:
        return []
    cell = lambda values: f"{10 ** mean(map(log10, values)):.2g} ({len(values)})" if values else ""
    return [f"The rate at which the loss leaves for good, geometric mean over so many seeds; {RAN}.\n",
            "| placement | 12 x 64 | 64 x 64 |", "|---|---|---|",
            *(f"| {norm} | {' | '.join(cell(at[layers]) for layers in NORMS)} |"
              for _, norm, at in sorted(rows, key=lambda row: row[0])), *missing(wanted())]


# ---- claims -------------------------------------------------------------------------------------

def ahead(first, second, layers):
    """By how much the logarithm of the limit is larger, by seed."""
    return pairs(ramp(first, layers), ramp(second, layers), lambda r: log(limit(r)))


def claims():
    found = []
    for layers in NORMS:
        for first, second in ORDER:
            if len(by := ahead(first, second, layers)) == len(SEEDS):
                words = f"log of the limit, {first} less {second}: {interval(by)}"
                if first == "keel":
                    words += f"; less peri, of which KEEL's table says nothing: {interval(ahead(first, 'peri', layers))}"
                found.append(Claim("log-ramp-order", f"{layers} x 64, {RAN}", words, verdict(by)))
    return found
