"""Post-, Pre- and Peri-LN whose first matrices speak as loudly as the paper's do at width 1024.

N(0, 0.02^2) gives a matrix that reads 1024 numbers of size 1 an output of size 0.02 sqrt(1024) =
0.64; here the standard deviation is enlarged to give the same at widths 64 and 128. Only runs, for
growth.py, last_gradient.py, layer_gradients.py and redundancy.py.
"""
from lab import SEEDS, THREE, runs
from learning_rate import around_shared_rate

SECTION = "Gradients"
INIT = {"S128": "normal:0.0566", "S64": "normal:0.08"}


def runs_of(scale, norm):
    return runs(scale, (norm,), around_shared_rate(), SEEDS, probe=50, init=INIT[scale])


def wanted():
    return [run for scale in INIT for norm in THREE for run in runs_of(scale, norm)]


def settings():
    """[(what the weights start as, norm -> its runs)]: as `ten` has it at 2e-3, then matched."""
    plain = lambda norm: runs("S128", (norm,), ("2e-3",), SEEDS, probe=50)
    return [("N(0, 0.02^2), width 128", plain)] + [
        (f"matched, width {width}", lambda norm, scale=scale: runs_of(scale, norm))
        for scale, width in (("S128", 128), ("S64", 64))]


def figures():
    return []


def claims():
    return []
