"""All ten placements at two rates: validation loss, and the variance of the hidden state before and
after training. The table is that of docs/results.md; most of these runs are growth.py's.
"""
import re
from statistics import median

from lab import FAST, HERE, RESULTS, SEEDS, placements, runs
from measures import by_sublayer, done
from verdict import spread

SECTION = "Growth of the hidden state"
RATES = ("2e-3",) if FAST else ("2e-3", "8e-3")


def runs_of(norm, rate):
    return runs("S128", (norm,), (rate,), SEEDS, probe=50)


def wanted():
    return [run for norm in placements() for rate in RATES for run in runs_of(norm, rate)]


# ---- the table of docs/results.md ---------------------------------------------------------------

def short(value):
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def variances(made, step):
    """After the first, the middle and the last sub-layer: medians over the seeds."""
    profiles = [by_sublayer(r, "hidden_variance", step) for r in made]
    chosen = [(p[0], p[len(p) // 2 - 1], p[-1]) for p in profiles]
    return " / ".join(short(median(values)) for values in zip(*chosen))


def row(norm, rate):
    made = done(runs_of(norm, rate))
    ended = [r for r in made if not r.diverged]
    lost = f", {len(made) - len(ended)} diverged" if len(ended) < len(made) else ""
    cells = [f"`{norm}`", rate, spread([r.loss for r in ended]) + lost,
             variances(ended, 0), variances(ended, -1)]
    return f"| {' | '.join(cells)} |"


def table():
    head = ["| placement | learning rate | validation loss: mean (range, seeds) | variance at the "
            "start | variance after training |", "|---|---|---|---|---|"]
    return head + [row(norm, rate) for norm in placements() for rate in RATES]


def write_table():
    """Into the page, where the results are those of the repository."""
    page = HERE.parent / "docs/results.md"
    if RESULTS != HERE / "results":
        return
    lines = "\n".join(table())
    page.write_text(re.sub(r"(<!-- placements -->\n).*?(<!-- end -->)",
                           lambda match: f"{match[1]}{lines}\n{match[2]}", page.read_text(),
                           count=1, flags=re.S))


def figures():
    return []


def claims():
    return []
