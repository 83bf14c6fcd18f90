#!/usr/bin/env python3
"""The experiments of claims.md.

    report.py run [--minutes N] [RECIPE ...]   does what is missing (of all recipes), then as below
    report.py                                  draws the figures and writes README.md from results/
    report.py left                             says what is missing and about how long it takes
"""
import argparse
import importlib
import re
import sys
import time

from lab import HERE, JOBS, RESULTS, perform, result, results
from verdict import CONTRADICTED, OPEN, SHOWN

# In this order: what needs the best rates comes after learning_rate.
RECIPES = [importlib.import_module(name) for name in (
    "growth", "learning_rate", "seeds", "early", "last_gradient", "layer_gradients", "matched",
    "gamma", "redundancy", "weight_decay", "initialisation", "extremes", "tokens", "sequence",
    "warmup", "layernorm", "embedding_norm", "table5", "qk_norm", "olmo2", "sgd", "ramp",
    "simple_norm", "depth", "gap")]
README = RESULTS.parent / "README.md"

INTRO = """# The paper's measurements, on a laptop

{when}Every claim was written down in [claims.md](claims.md) before its runs, with what would
contradict it; the rules for the verdicts are there too. *Reproduced* and *contradicted* are said of
pairs of runs with the same seed, all on one side and beyond the spread; everything else is *open*.
All of it is at this scale: 12 layers of width 64 or 128 and a few hundred steps, where the paper
has 400M parameters and more, and 30 G tokens.

`make experiments` does the runs that are missing and can be stopped at any time; `make figures`
draws what has been measured and writes this page. Runs are rows of `results/*/runs.csv`, each with
its command; their measurements lie beside it. fp32, one thread a run, `--tune off`: on a processor
of the same kind the same bits.

"""


def claims_by_section():
    """[(section's title, [(id, claim, paper)])] as claims.md has them."""
    sections, field = [], None
    for line in (HERE / "claims.md").read_text().splitlines():
        if match := re.match(r"## \d+\. (.*)", line):
            sections.append((match[1], []))
        elif match := re.match(r"### `(.*)`", line):
            sections[-1][1].append({"id": match[1]})
        elif match := re.match(r"- \*\*(.+?)\.?\*\*\.? ?(.*)", line):
            field = match[1].lower()
            if sections and sections[-1][1]:
                sections[-1][1][-1][field] = match[2]
        elif line.startswith("  ") and sections and sections[-1][1] and field:
            sections[-1][1][-1][field] += " " + line.strip()
    return sections


def cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")


def write_readme():
    seen = {}
    for recipe in RECIPES:
        for claim in recipe.claims():
            seen.setdefault(claim.id, []).append(claim)
    known = {claim["id"] for _, claims in claims_by_section() for claim in claims}
    for name in seen:
        assert name in known, f"{name} is not in claims.md"
    counts = {v: sum(claim.verdict == v for list_ in seen.values() for claim in list_)
              for v in (SHOWN, CONTRADICTED, OPEN)}
    dates = sorted(r.row["date"] for r in results().values())
    done, hours = len(results()), sum(float(r.row["seconds"]) for r in results().values()) / 3600
    when = (f"{done} runs, {hours:.1f} hours of one core in all, {dates[0]} to {dates[-1]}. "
            if done else "")
    page = [INTRO.format(when=when),
            f"Of {len(known)} claims {len(seen)} have been looked at so far; of their verdicts "
            f"{counts[SHOWN]} are reproduced, {counts[CONTRADICTED]} contradicted, "
            f"{counts[OPEN]} open.\n"]
    drawn = {recipe: [f for f in recipe.figures() if f and f[0]] for recipe in RECIPES}
    for title, claims in claims_by_section():
        page.append(f"\n## {title}\n")
        for recipe in RECIPES:
            if recipe.SECTION == title:
                for path, caption in drawn[recipe]:
                    page.append(f"![{caption}]({path.relative_to(README.parent)})\n\n{caption}\n"
                                f"`python3 experiments/report.py run {recipe.__name__}`\n")
        rows = [(claim, each) for claim in claims for each in seen.get(claim["id"], [])]
        if rows:
            page.append("| claim | the paper | run here | seen | verdict |\n|---|---|---|---|---|")
        for claim, each in rows:
            words = f"`{claim['id']}` {claim['claim']}"
            told = each.verdict + (f"; next: {each.larger}" if each.verdict == OPEN else "")
            page.append("| " + " | ".join(map(cell, (words, claim["paper"], each.ran, each.seen,
                                                     told))) + " |")
        missing = [f"`{claim['id']}`" for claim in claims if claim["id"] not in seen]
        if missing:
            page.append("\nNot run yet: " + ", ".join(missing) + ".")
    README.parent.mkdir(parents=True, exist_ok=True)
    README.write_text("\n".join(page) + "\n")
    print(f"{README}: {done} runs, " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()))


def missing(recipe):
    """Its runs that are to be done, by name."""
    return {run.name: run for run in recipe.wanted() if not result(run)}


def run(recipe, end):
    """Does them, and those that a recipe wants in view of what they showed. Returns how many are
    left at the time `end`."""
    while wanted := list(missing(recipe).values()):
        minutes = None if end is None else (end - time.monotonic()) / 60
        if left := perform(recipe.__name__, wanted, minutes):
            return left
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("report", "run", "left"), default="report")
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--minutes", type=float, help="start no further run after so many")
    given = parser.parse_args()
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
        write_readme()


if __name__ == "__main__":
    main()
