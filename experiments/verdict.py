"""The rules of claims.md: pairs of runs with the same seed, and what they say of a claim.

A verdict on pairs rests on a 95 % t interval of their mean; Holm's correction is over all claims.
"""
import random
from dataclasses import dataclass, replace
from math import atan, comb, copysign, cos, inf, pi, sin, sqrt
from statistics import mean, stdev

from lab import FAST, result

SHOWN, CONTRADICTED, OPEN = "reproduced", "contradicted", "not at this scale"
SPLIT = "mixed"  # of a claim whose rows do not all say the same
LEVEL = 0.95
FAILED_ABOVE = 3.1  # nats a byte; byte frequencies alone give 3.20
FAILED_LOSS = 3.2
by_interval = True  # False: as before 24 November 2026, on signs and spread alone


@dataclass
class Claim:
    """What was seen of a claim of claims.md."""
    id: str
    ran: str   # model, tokens, seeds
    seen: str  # numbers, with their spread
    verdict: str
    # What an open one asks for. By estimate: 0.32 s a step at 12 x 128, 3.3 times as much at twice
    # the width, four times the bytes.
    larger: str = "more seeds, then 12 x 256, 16 x 256 bytes a step (about 20 core-minutes a run)"
    tests: list = None  # those that it rests on; by default the verdict's

    def __post_init__(self):
        if self.tests is None:
            self.tests = list(getattr(self.verdict, "tests", ()))


@dataclass
class Test:
    """Of the mean of n differences against a value (0, or a margin)."""
    n: int
    mean: float
    low: float
    high: float
    p: float


class Verdict(str):
    """One of the words above, with the tests that it rests on."""
    tests = ()


def ruled(word, tests):
    found = Verdict(word)
    found.tests = tuple(tests)
    return found


# ---- Student's t --------------------------------------------------------------------------------

def within(t, freedom):
    """P(|T| < t) with so many degrees of freedom: the finite sums for whole numbers of these."""
    angle = atan(t / sqrt(freedom))
    odd, term, total = freedom % 2, 1.0, 0.0
    for k in range(freedom // 2):
        total += term
        n = 2 * k + 1 + odd
        term *= n / (n + 1) * cos(angle) ** 2
    if odd:
        return 2 / pi * (angle + sin(angle) * cos(angle) * total)
    return sin(angle) * total


def quantile(freedom, level=LEVEL):
    """The t that |T| exceeds with probability 1 - level."""
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, freedom) < level else (low, middle)
    return high


def test(differences, against=0.0):
    """The 95 % interval of their mean, and the two-sided p of its being `against`."""
    n, centre, spread = len(differences), mean(differences), stdev(differences)
    error = spread / sqrt(n)
    half = quantile(n - 1) * error
    away = abs(centre - against)
    t = away / error if error else inf * away if away else 0.0
    p = 1 - within(t, n - 1) if t < inf else 0.0
    return Test(n, centre, centre - half, centre + half, p)


def holm(ps, level=1 - LEVEL):
    """Which of a family are significant where one false one in all is to have this probability."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    found = [False] * len(ps)
    for rank, i in enumerate(order):
        if ps[i] > level / (len(ps) - rank):
            break
        found[i] = True
    return found


def share_interval(k, n, level=LEVEL):
    """The exact 95 % interval of a share of which k of n were seen (Clopper and Pearson)."""
    up_to = lambda j, p: sum(comb(n, i) * p ** i * (1 - p) ** (n - i) for i in range(j + 1))

    def where(j, tail):  # up_to falls from 1 to 0
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if up_to(j, middle) > tail else (low, middle)
        return high
    tail = (1 - level) / 2
    return where(k - 1, 1 - tail) if k else 0.0, where(k, tail) if k < n else 1.0


def false_positives(n, trials=100_000, seed=1):
    """How often n differences of pure chance are called reproduced: (by signs and spread alone,
    by the interval as well). Simulated."""
    draw, limit = random.Random(seed).gauss, quantile(n - 1) / sqrt(n)
    old = new = 0
    for _ in range(trials):
        d = [draw(0, 1) for _ in range(n)]
        if min(d) > 0:
            centre = sum(d) / n
            spread = sqrt(sum((x - centre) ** 2 for x in d) / (n - 1))
            old += centre > spread
            new += centre > max(1, limit) * spread
    return old / trials, new / trials


# ---- runs ---------------------------------------------------------------------------------------

def failed(result):
    return result.diverged or not result.loss <= FAILED_ABOVE


def loss(result):
    """The validation loss; a run that failed is worse than any that did not."""
    return FAILED_LOSS if failed(result) else result.loss


def pairs(first, second, measure=loss):
    """measure(first) - measure(second), by seed, of the runs of two lists that have been made."""
    by_seed = {run.seed: result(run) for run in second if result(run)}
    return [measure(result(run)) - measure(by_seed[run.seed])
            for run in first if result(run) and run.seed in by_seed]


# ---- verdicts -----------------------------------------------------------------------------------

def enough(differences, wanted):
    return (len(differences) >= (2 if FAST else wanted)
            and not any(d != d or abs(d) == inf for d in differences))


def verdict(differences, wanted=3):
    """Of differences that the claim says are positive; open with fewer than so many pairs."""
    if not enough(differences, wanted):
        return OPEN
    centre, spread, found = mean(differences), stdev(differences), test(differences)
    word = OPEN
    if min(differences) > 0 and centre > spread and (found.low > 0 or not by_interval):
        word = SHOWN
    if max(differences) < 0 and -centre > spread and (found.high < 0 or not by_interval):
        word = CONTRADICTED
    return ruled(word, [found])


def beyond(differences, wanted=20):
    """Of so many differences that the claim says are positive, by the interval alone."""
    if not enough(differences, wanted):
        return OPEN
    found = test(differences)
    return ruled(SHOWN if found.low > 0 else CONTRADICTED if found.high < 0 else OPEN, [found])


def alike(differences, margin, wanted=3):
    """Of differences that the claim says are small."""
    if not enough(differences, wanted):
        return OPEN
    found = test(differences, copysign(margin, mean(differences)))
    inside = -margin <= found.low and found.high <= margin
    outside = found.low > margin or found.high < -margin
    word = OPEN
    if all(abs(d) <= margin for d in differences) and (inside or not by_interval):
        word = SHOWN
    if ((min(differences) > margin or max(differences) < -margin)
            and (outside or not by_interval)):
        word = CONTRADICTED
    return ruled(word, [found])


def tests_of(verdicts):
    return [test for each in verdicts for test in getattr(each, "tests", ())]


def judge(shown, contradicted, parts=()):
    """A verdict on conditions; `parts`: the verdicts on pairs among these."""
    return ruled(CONTRADICTED if contradicted else SHOWN if shown else OPEN, tests_of(parts))


def joint(verdicts):
    """Of several settings together: what all of them say, else open."""
    verdicts = list(verdicts)
    words = set(map(str, verdicts))
    return ruled(words.pop() if len(words) == 1 else OPEN, tests_of(verdicts))


def of_all(verdicts, against=1):
    """Of a claim on several comparisons together: shown if all are, contradicted if so many are with a p for which chance
    alone would say so in one of twenty (Rueger's rule: k of n at k/n of the level), which then are its tests, with a p
    that is n/k times theirs."""
    verdicts = list(verdicts)
    more = len(verdicts) / against
    wrong = [v for v in verdicts if v == CONTRADICTED and v.tests[0].p * more <= 1 - LEVEL]
    if len(wrong) >= against:
        return ruled(CONTRADICTED, [replace(each, p=min(1.0, each.p * more)) for each in tests_of(wrong)])
    return ruled(SHOWN if all(v == SHOWN for v in verdicts) else OPEN, tests_of(verdicts))


def of_claim(rows):
    """The verdict on a claim: what all its rows say, else mixed."""
    words = {str(row.verdict) for row in rows}
    return words.pop() if len(words) == 1 else SPLIT


def p_of_claim(rows):
    """The largest p of all its tests, as all are to hold; None where it rests on no test."""
    ps = [test.p for row in rows for test in row.tests]
    return max(ps) if ps else None


# ---- words --------------------------------------------------------------------------------------

def number(value, form):
    """As the format says, but "2,130" for 2.13e+03: three digits are read more easily so."""
    if form.endswith("g") and 1e3 <= abs(value) < 1e7:
        return f"{float(f'{value:{form}}'):,.0f}"
    return f"{value:{form}}"


def spread(values, form=".3f"):
    """"1.660 (1.654 to 1.664, n = 3)"."""
    values = [v for v in values if v == v]
    if not values:
        return "not run"
    low, high = number(min(values), form), number(max(values), form)
    return f"{number(mean(values), form)} ({low} to {high}, n = {len(values)})"


def interval(differences, form="+.3f"):
    """"+0.008 (95 % interval -0.036 to +0.053, n = 5)"."""
    if len(differences) < 2 or any(d != d for d in differences):
        return "not run"
    found = test(differences)
    return (f"{found.mean:{form}} (95 % interval {found.low:{form}} to {found.high:{form}}, "
            f"n = {found.n})")


def effect(tests):
    """A cell of the report: the test, or how many there are and the weakest."""
    if not tests:
        return "no test"
    worst = max(test.p for test in tests)
    if len(tests) == 1:
        one = tests[0]
        return f"{one.mean:+.3g} ({one.low:+.3g} to {one.high:+.3g}, n = {one.n}), p = {worst:.2g}"
    return f"{len(tests)} tests, largest p = {worst:.2g}"
