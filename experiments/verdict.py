"""The rules of claims.md: pairs of runs with the same seed, and what they say of a claim."""
from dataclasses import dataclass
from statistics import mean, stdev

from lab import FAST, result

SHOWN, CONTRADICTED, OPEN = "reproduced", "contradicted", "not at this scale"
FAILED_ABOVE = 3.1  # nats a byte; byte frequencies alone give 3.20
FAILED_LOSS = 3.2


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


def verdict(differences, wanted=3):
    """Of differences that the claim says are positive; open with fewer than so many pairs."""
    n = len(differences)
    if n < (2 if FAST else wanted) or any(d != d for d in differences):
        return OPEN
    centre, spread = mean(differences), stdev(differences)
    if min(differences) > 0 and centre > spread:
        return SHOWN
    if max(differences) < 0 and -centre > spread:
        return CONTRADICTED
    return OPEN


def alike(differences, margin, wanted=3):
    """Of differences that the claim says are small."""
    if len(differences) < (2 if FAST else wanted) or any(d != d for d in differences):
        return OPEN
    if all(abs(d) <= margin for d in differences):
        return SHOWN
    if min(differences) > margin or max(differences) < -margin:
        return CONTRADICTED
    return OPEN


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
