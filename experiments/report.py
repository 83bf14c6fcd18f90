#!/usr/bin/env python3
"""The experiments of claims.md.

    report.py run [--minutes N] [RECIPE ...]   does what is missing (of all recipes), then as below
    report.py                                  draws the figures and writes README.md and report/ from
                                               results/, and the table of placements in docs/results.md
    report.py left                             says what is missing and about how long it takes
"""
import argparse
import importlib
import sys
import time
from dataclasses import replace

import pages
import placements
import verdict
from lab import FAST, JOBS, perform, result
from verdict import CONTRADICTED, SHOWN, of_claim

# In this order: what needs the best rates comes after learning_rate.
RECIPES = [importlib.import_module(name) for name in (
    "growth", "learning_rate", "seeds", "early", "last_gradient", "layer_gradients", "matched",
    "gamma", "redundancy", "weight_decay", "initialisation", "extremes", "tokens", "sequence",
    "warmup", "layernorm", "embedding_norm", "table5", "qk_norm", "olmo2", "sgd", "ramp",
    "simple_norm", "depth", "gap", "placements", "precision", "causes", "causes_ten",
    "twenty", "few_bits", "sharpness",
    "depths", "scale", "optimal", "log_ramp")]


def look():
    """{claim: what was seen of it}"""
    seen = {}
    for recipe in RECIPES:
        for claim in recipe.claims():
            seen.setdefault(claim.id, []).append(claim)
    return seen


def without_interval():
    """The same by the rule as it was."""
    verdict.by_interval = False
    try:
        return look()
    finally:
        verdict.by_interval = True


def counted(seen):
    """What corrections.py tells of the verdicts."""
    rows = lambda found: [(each.id, str(each.verdict)) for name in sorted(found)
                          for each in found[name]]
    holds = pages.after_holm(seen)
    tested = [name for name in holds if of_claim(seen[name]) in (SHOWN, CONTRADICTED)]
    return {"rows": len(rows(seen)), "family": len(holds), "tested": len(tested),
            "holm": sum(holds[name] for name in tested), "survivors": [name for name in tested if holds[name]],
            "changed": sum(a != b for a, b in zip(rows(seen), rows(without_interval())))}


def looked_at(run):
    """The run, looked at as often as any recipe needs: equal runs are one, whoever names it."""
    needs = [recipe.needs(run) for recipe in RECIPES if hasattr(recipe, "needs")]
    return replace(run, **{setting: every for need in needs for setting, every in need.items()})


def missing(recipe):
    """Its runs that are to be done, by name."""
    return {run.name: run for run in recipe.wanted() if not result(run)}


def by_seed(recipe):
    """Whether its runs are done in whole blocks of a seed."""
    return getattr(recipe, "BY_SEED", False)


def at_once(recipe, wanted):
    """The next ones to do, in view of nothing that they will show."""
    if getattr(recipe, "ADAPTS", False) and not FAST:
        alike = [each for each in wanted if 0.5 < each.estimate() / wanted[0].estimate() < 2]
        return alike[:JOBS]
    return [each for each in wanted if each.seed == wanted[0].seed or not by_seed(recipe)]


def run(recipe, end):
    """Does them, and those that a recipe wants in view of what they showed. Returns how many are
    left at the time `end`."""
    while wanted := list(map(looked_at, missing(recipe).values())):
        minutes = None if end is None else (end - time.monotonic()) / 60
        now = at_once(recipe, wanted)
        if left := perform(recipe.__name__, now, minutes):
            return left + len(wanted) - len(now)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("report", "run", "left"), default="report")
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--minutes", type=float, help="start no further run after so many")
    given = parser.parse_intermixed_args()  # options may stand between the words
    names = {recipe.__name__: recipe for recipe in RECIPES}
    for name in given.recipes:
        if name not in names:
            sys.exit(f"report.py: there is no recipe {name}: choose from {', '.join(names)}")
    chosen = [names[name] for name in given.recipes] or RECIPES
    end = time.monotonic() + 60 * given.minutes if given.minutes is not None else None
    left = 0
    for recipe in chosen:
        if given.what == "left":
            wanted = missing(recipe).values()
            minutes = sum(run.estimate() for run in wanted) / JOBS / 60
            print(f"{recipe.__name__}: {len(wanted)} runs to do, about {minutes:.0f} minutes")
        if given.what == "run":
            left += run(recipe, end)
    if left:
        print(f"{left} runs are left: run it again")
    if given.what != "left":
        seen = look()
        pages.write(RECIPES, seen, counted(seen))
        placements.write_table()


if __name__ == "__main__":
    main()
