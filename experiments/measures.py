"""What several recipes compute from a run's measurements. Where a number is missing it is NaN."""
from functools import lru_cache
from math import exp, log, nan
from statistics import correlation, fmean, linear_regression, mean

from draw import band
from lab import FAST, SEEDS, finished
from verdict import failed, number, spread

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


def stretches(result, until=None):
    """How many times the loss has risen: steps in succession count once."""
    found = rises(result, until)
    return sum(step - 1 not in found for step in found)


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


def r_squared(values, fitted):
    centre = fmean(values)
    return 1 - (sum((v - f) ** 2 for v, f in zip(values, fitted))
                / sum((v - centre) ** 2 for v in values))


def log_fit(xs, values):
    """(slope, R^2) of the least-squares line of log values over xs."""
    ys = [log(value) for value in values]
    line = linear_regression(xs, ys)
    return line.slope, r_squared(ys, [line.intercept + line.slope * x for x in xs])


def r_squared_in_units(shape, depth, values):
    """R^2 of the best A shape(k, s), by least squares in the values themselves: k by trial, A then
    follows. s of `depth`, which ends with S; shape(k, S) = 1."""
    def at(k):
        curve = [shape(k, s / depth[-1]) for s in depth]
        a = sum(c * v for c, v in zip(curve, values)) / sum(c * c for c in curve)
        return r_squared(values, [a * c for c in curve])

    best, step = 10, 4
    while step > 0.002:  # from all over 0 to 20 to the third digit
        best = max((best + step * i for i in (-2, -1, 0, 1, 2)), key=at)
        step /= 2
    return at(best)


def shapes(result, step=-1, first=1):
    """How the variance grows over the sub-layers s = first .. S: the exponent p of A s^p, and R^2 of
    that power law, of an exponential A exp(k s) and of a line; "logs" and "units" say in what the
    squares were least. None where a variance is not a number above 0, or all are the same."""
    return shapes_of(tuple(by_sublayer(result, "hidden_variance", step)[first - 1:]), first)


@lru_cache(maxsize=None)
def shapes_of(values, first):
    if len(values) < 3 or len(set(values)) == 1:
        return None
    if not all(0 < value < float("inf") for value in values):
        return None
    depth = list(range(first, first + len(values)))
    exponent, power = log_fit([log(s) for s in depth], values)
    line = linear_regression(depth, values)
    return {"exponent": exponent, "power, logs": power,
            "exponential, logs": log_fit(depth, values)[1],
            "power, units": r_squared_in_units(lambda k, x: x ** k, depth, values),
            "exponential, units": r_squared_in_units(lambda k, x: exp(k * (x - 1)), depth, values),
            "line": r_squared(values, [line.intercept + line.slope * s for s in depth])}


def better_fit(result, step=-1, first=1):
    """"sub-exponential" where a power law fits better than an exponential both in logarithms and in
    linear units, "exponential" where both are the other way round, else None."""
    found = shapes(result, step, first)
    if found is None:
        return None
    below = [found[f"power, {how}"] > found[f"exponential, {how}"] for how in ("logs", "units")]
    return "sub-exponential" if all(below) else None if any(below) else "exponential"


def words_of_shapes(found):
    """In words, of several runs."""
    found = [one for one in found if one]
    told = lambda key: spread([one[key] for one in found], ".2f")
    return (f"exponent of a power law {told('exponent')}; R^2 in logarithms: power law "
            f"{told('power, logs')}, exponential {told('exponential, logs')}; in linear units: "
            f"power law {told('power, units')}, exponential {told('exponential, units')}, line "
            f"{told('line')}")


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


def learned(wanted):
    """Those of the runs that were made and did not fail."""
    return [run for run, result in finished(wanted) if not failed(result)]


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
