"""What several recipes compute from a run's measurements. Where a number is missing it is NaN."""
from math import exp, log, nan, sqrt
from statistics import correlation, linear_regression, mean

from draw import band
from lab import FAST, SEEDS, finished
from verdict import CONTRADICTED, OPEN, SHOWN, number

FIVE = SEEDS if FAST else (11, 12, 13, 14, 15)  # seeds of `parts`
# Nats: the loss rises when a mean of 5 steps is so far above its lowest value so far. Hard batches
# alone, the same ones in every run of a seed, make 0.17 to 0.24 of it.
RISE = 0.4


# ---- series -------------------------------------------------------------------------------------

def sliding_mean(series, window):
    """[(step, mean of the last `window` values)] of [(step, value)]."""
    values = [value for _, value in series]
    return [(series[i][0], mean(values[i + 1 - window:i + 1]))
            for i in range(window - 1, len(series))]


def rises(result, until=None):
    """Steps at which the loss has risen (early-instability)."""
    lowest, found = float("inf"), []
    for step, value in sliding_mean(result.series("loss"), 5):
        if until is not None and step > until:
            break
        if not value <= lowest + RISE:
            found.append(step)
        lowest = min(lowest, value) if value == value else lowest
    return found


def spikes(result, first=1, last=float("inf")):
    """How many steps, of those from `first` to `last`, had a spike of the gradient norm."""
    return sum(first <= step <= last for step, _ in result.over_time("spike"))


def length(result):
    """Steps that were done."""
    return result.metrics[-1][0]


# ---- depth --------------------------------------------------------------------------------------

def by_sublayer(result, quantity, step=-1):
    """The values of sub-layers 1 .. S, in order, at a step (0: the start, -1: the end)."""
    return [value for s, value in sorted(result.profile(quantity, step).items()) if s]


def last_variance(result, step=-1):
    """Variance of the hidden state behind the last sub-layer."""
    return (by_sublayer(result, "hidden_variance", step) or [nan])[-1]


def end_over_start(result):
    """Growth in training of the last sub-layer's variance."""
    return last_variance(result) / last_variance(result, 0)


def last_over_first(result, step=-1):
    """Growth over depth of the variance."""
    values = by_sublayer(result, "hidden_variance", step) or [nan]
    return values[-1] / values[0]


def largest_over_smallest(values):
    return max(values) / min(values) if values and min(values) > 0 else nan


def slope(xs, ys):
    """Of the least-squares line."""
    return linear_regression(xs, ys).slope if all(y == y for y in ys) else nan


def linear_rms(variances):
    """Root-mean-square errors, in linear units, of the fits of growth.h: (linear, exponential)."""
    depth = list(range(1, len(variances) + 1))
    v = [value / variances[0] for value in variances]
    line = linear_regression(depth, v)
    curve = linear_regression(depth, [log(value) for value in v])
    rms = lambda fit: sqrt(mean((fit(s) - value) ** 2 for s, value in zip(depth, v)))
    return (rms(lambda s: line.intercept + line.slope * s),
            rms(lambda s: exp(curve.intercept + curve.slope * s)))


def better_fit(result, step=-1):
    """"linear" or "exponential" if that fit over depth is better by both measures of claims.md, in
    decades and in linear units; else None."""
    decades = [result.value(f"growth_{fit}_error", step) for fit in ("linear", "exponential")]
    variances = by_sublayer(result, "hidden_variance", step)
    if not variances or not all(0 < value < float("inf") for value in variances):
        return None
    linear, exponential = zip(decades, linear_rms(variances))
    if all(a < b for a, b in zip(linear, exponential)):
        return "linear"
    return "exponential" if all(b < a for a, b in zip(linear, exponential)) else None


# ---- statistics ---------------------------------------------------------------------------------

def ranks(values):
    """1 for the smallest; equal values share the mean of their ranks."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) + 1) / 2 for value in values]


def rank_correlation(xs, ys):
    """Spearman's; NaN where it is not defined."""
    bad = any(value != value for value in (*xs, *ys))
    if len(xs) < 3 or bad or len(set(xs)) == 1 or len(set(ys)) == 1:
        return nan
    return correlation(ranks(xs), ranks(ys))


# ---- curves and verdicts ------------------------------------------------------------------------

def largest(r, step=-1, rank="001"):
    """(|x|, sub-layer) of the largest hidden-state entry, or of the n-th."""
    profile = r.profile(f"largest_{rank}", step)
    return max(((value, layer) for layer, value in profile.items()), default=(float("nan"), None))


def log_variance(r, step=-1):
    """Of the hidden state behind the last sub-layer."""
    value = last_variance(r, step)
    return log(value) if 0 < value < float("inf") else nan


def between(values, form=".3g"):
    """Lowest and highest, where a mean would make a table too wide."""
    values = [v for v in values if v == v]
    if not values:
        return "not run"
    low, high = (number(v, form) for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def smooth(series, width=10):
    """Means of so many values, for curves."""
    blocks = [series[i:i + width] for i in range(0, len(series), width)]
    return [(block[-1][0], mean(y for _, y in block)) for block in blocks]


def done(wanted):
    """The results of those runs that have been made."""
    return [result for _, result in finished(wanted)]


def over_layers(wanted, quantity, step=-1):
    """A quantity's curve over depth: mean and range over the seeds."""
    return band([sorted(r.profile(quantity, step).items()) for r in done(wanted)])


def over_steps(wanted, quantity):
    """A curve over training, of a quantity of the whole model."""
    return band([r.over_time(quantity) for r in done(wanted)])


def in_training(wanted, column):
    """The curve of `loss` or `grad_norm`."""
    return band([smooth(r.series(column)) for r in done(wanted)])


def widened(ladder, first, last, mean_loss):
    """ladder[first:last], longer by a rate for as long as the one at that end is the best."""
    while not FAST:
        losses = [mean_loss(rate) for rate in ladder[first:last]]
        if not losses or None in losses:
            break
        best = losses.index(min(losses))
        if best == 0 and first > 0:
            first -= 1
        elif best == len(losses) - 1 and last < len(ladder):
            last += 1
        else:
            break
    return ladder[first:last]


def best_inside(rates, mean_loss):
    """The rate with the lowest loss; None while one is missing, or where it lies at an end."""
    losses = [mean_loss(rate) for rate in rates]
    if not losses or None in losses:
        return None
    best = losses.index(min(losses))
    return rates[best] if FAST or 0 < best < len(rates) - 1 else None


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
