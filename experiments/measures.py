"""What several recipes compute from a run's measurements, and verdicts put together."""
from math import isfinite, log
from statistics import mean

from draw import band
from lab import FAST, finished
from verdict import CONTRADICTED, OPEN, SHOWN


# ---- of one run ---------------------------------------------------------------------------------

def spikes(r):
    """Steps whose gradient norm is above three times the median of the 20 before."""
    return len(r.probe.get("spike", {}))


def first_rise(losses, above=0.2, width=5):
    """First step at which the mean of `width` losses is so far above its lowest value; or None."""
    lowest = float("inf")
    for i in range(width, len(losses) + 1):
        centre = mean(loss for _, loss in losses[i - width:i])
        lowest = min(lowest, centre)
        if not centre <= lowest + above:
            return losses[i - 1][0]
    return None


def largest(r, step=-1, rank="001"):
    """(|x|, sub-layer) of the largest hidden-state entry, or of the so-manieth."""
    profile = r.profile(f"largest_{rank}", step)
    return max(((value, layer) for layer, value in profile.items()), default=(float("nan"), None))


def behind(r, quantity, step=-1):
    """[(s, value)] of the sub-layers, s from 1 on."""
    return [(s, value) for s, value in sorted(r.profile(quantity, step).items()) if s]


def ratio_over_layers(r, quantity, step=-1):
    """Largest over smallest."""
    values = [value for _, value in behind(r, quantity, step)]
    return max(values) / min(values) if values and min(values) > 0 else float("nan")


# ---- of numbers ---------------------------------------------------------------------------------

def slope(points):
    """Least squares."""
    if len(points) < 2:
        return float("nan")
    x0, y0 = mean(x for x, _ in points), mean(y for _, y in points)
    return sum((x - x0) * (y - y0) for x, y in points) / sum((x - x0) ** 2 for x, _ in points)


def log_slope(points):
    """Of the logarithm: e-folds per step of x."""
    if not all(y > 0 for _, y in points):
        return float("nan")
    return slope([(x, log(y)) for x, y in points])


def correlation(points):
    """Pearson's; nan where one side does not vary."""
    points = [(x, y) for x, y in points if isfinite(x) and isfinite(y)]
    if len({x for x, _ in points}) < 2 or len({y for _, y in points}) < 2:
        return float("nan")
    x0, y0 = mean(x for x, _ in points), mean(y for _, y in points)
    xx = sum((x - x0) ** 2 for x, _ in points)
    yy = sum((y - y0) ** 2 for _, y in points)
    return sum((x - x0) * (y - y0) for x, y in points) / (xx * yy) ** 0.5


def ranks(values):
    """From 1; equal values share their mean rank."""
    ordered = sorted(values)
    return [ordered.index(v) + (ordered.count(v) + 1) / 2 for v in values]


def rank_correlation(points):
    """Spearman's."""
    points = [(x, y) for x, y in points if isfinite(x) and isfinite(y)]
    return correlation(list(zip(ranks([x for x, _ in points]), ranks([y for _, y in points]))))


def smooth(series, width=10):
    """Means of so many values, for curves."""
    blocks = [series[i:i + width] for i in range(0, len(series), width)]
    return [(block[-1][0], mean(y for _, y in block)) for block in blocks]


# ---- of runs ------------------------------------------------------------------------------------

def done(wanted):
    """The results of those runs that have been made."""
    return [result for _, result in finished(wanted)]


def over_layers(wanted, quantity, step=-1):
    """A quantity's curve over depth: mean and range over the seeds."""
    return band([sorted(r.profile(quantity, step).items()) for r in done(wanted)])


def over_steps(wanted, quantity):
    """A curve over training, of a quantity of the whole model."""
    return band([r.over_time(quantity) for r in done(wanted)])


# ---- verdicts -----------------------------------------------------------------------------------

def enough(values, wanted=3):
    return len(values) >= (2 if FAST else wanted) and not any(v != v for v in values)


def all_below(values, bound, wanted=3):
    return enough(values, wanted) and max(values) < bound


def all_above(values, bound, wanted=3):
    return enough(values, wanted) and min(values) > bound


def judge(shown, contradicted):
    return CONTRADICTED if contradicted else SHOWN if shown else OPEN


def joint(verdicts):
    """Of several settings together: what all of them say, else open."""
    verdicts = set(verdicts)
    return verdicts.pop() if len(verdicts) == 1 else OPEN
