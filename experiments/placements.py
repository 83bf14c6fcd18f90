"""All ten placements at two rates: validation loss, and the variance of the hidden state before and
after training. docs/results.md has the table; most of these runs are growth.py's.
"""
from lab import FAST, SEEDS, placements, runs

SECTION = "Growth of the hidden state"
RATES = ("2e-3",) if FAST else ("2e-3", "8e-3")


def runs_of(norm, rate):
    return runs("S128", (norm,), (rate,), SEEDS, probe=50)


def wanted():
    return [run for norm in placements() for rate in RATES for run in runs_of(norm, rate)]


def figures():
    return []


def claims():
    return []
