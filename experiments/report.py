#!/usr/bin/env python3
"""The experiments of claims.md.

    report.py run [--minutes N] [RECIPE ...]   does what is missing (of all recipes), then as below
    report.py                                  draws the figures and writes README.md from results/,
                                               and the table of placements in docs/results.md
    report.py left                             says what is missing and about how long it takes
"""
import argparse
import importlib
import re
import sys
import time
from dataclasses import replace

import corrections
import overview
import placements
import verdict
from lab import HERE, JOBS, RESULTS, perform, result, results
from verdict import CONTRADICTED, OPEN, SHOWN, SPLIT, effect, holm, of_claim, p_of_claim

# In this order: what needs the best rates comes after learning_rate.
RECIPES = [importlib.import_module(name) for name in (
    "growth", "learning_rate", "seeds", "early", "last_gradient", "layer_gradients", "matched",
    "gamma", "redundancy", "weight_decay", "initialisation", "extremes", "tokens", "sequence",
    "warmup", "layernorm", "embedding_norm", "table5", "qk_norm", "olmo2", "sgd", "ramp",
    "simple_norm", "depth", "gap", "placements", "precision", "causes", "causes_ten",
    "twenty", "few_bits", "sharpness",
    "scale", "optimal", "depths", "log_ramp")]
README = RESULTS.parent / "README.md"
VERDICTS = (SHOWN, CONTRADICTED, OPEN)

INTRO = """# The paper's measurements, on a laptop

Twelve layers of width 64 or 128 and a few hundred steps, where *Peri-LN: Revisiting Normalization
Layer in the Transformer Architecture* trains 400M parameters and more on 30 billion tokens. Every
claim was written down in [claims.md](claims.md) before its runs, with what would contradict it,
but for those marked *afterwards* there.

- **Reproduced** and **contradicted** are said of pairs of runs with the same seed, hence the same
  batches: all on one side, beyond the spread, and with a 95 % t interval of the mean that leaves
  out 0. Everything else is **not at this scale**. A claim read in several settings is **mixed** if
  these disagree. A claim contradicted here may well hold at the paper's size.
- *a (b to c, n = d)* is a mean, the smallest, the largest, and how many seeds; in the column
  *effect* b and c are the ends of the 95 % interval. Holm's correction is over all claims that rest
  on such tests; others rest on thresholds or counts, named in claims.md.
- A run that failed counts as a loss of 3.2 nats a byte, what byte frequencies alone give.

`make experiments` does the runs that are missing and can be stopped at any time; `make figures`
draws what has been measured and writes this page. Runs are rows of `results/*/runs.csv`, each with
its command; their measurements lie beside it. fp32 (but in `precision` and `few_bits`), one thread a
run, `--tune off`: on a processor of the same kind the same bits.
"""


def claims_by_section():
    """[(section's title, [(id, claim, paper)])] as claims.md has them."""
    sections, field = [], None
    for line in (HERE / "claims.md").read_text().splitlines():
        if line == "## Answers to a referee":
            break
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


def what_was_run():
    """The runs, hours, machines and days, in a sentence."""
    rows = [r.row for r in results().values()]
    if not rows:
        return "Nothing has been run yet."
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    days, machines = (sorted({row[key] for row in rows}) for key in ("date", "machine"))
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (f"{len(rows)} runs, {hours:.1f} hours summed over runs that at times shared their "
            f"core, {when}; {', '.join(machines)}.")


def after_holm(seen):
    """{claim: whether its verdict holds after the correction}, of those that rest on tests. An open
    or mixed one counts in the family with a p of 1."""
    ps = {name: p_of_claim(rows) if of_claim(rows) in (SHOWN, CONTRADICTED) else 1.0
          for name, rows in seen.items() if p_of_claim(rows) is not None}
    return dict(zip(ps, holm(list(ps.values()))))


def in_short(sections, seen):
    """A line a claim, without the numbers."""
    lines = ["\n## In short\n", "| claim | verdict | after Holm |", "|---|---|---|"]
    holds = after_holm(seen)
    for title, claims in sections:
        for claim in claims:
            rows = seen.get(claim["id"], [])
            found, corrected = of_claim(rows) if rows else "not run", ""
            if found == SPLIT:
                words = [str(row.verdict) for row in rows]
                found += f" ({', '.join(f'{words.count(v)} {v}' for v in VERDICTS if v in words)})"
            elif claim["id"] in holds and found != OPEN:
                corrected = "holds" if holds[claim["id"]] else "does not hold"
            lines.append(f"| [{cell(claim['claim'])}](#{anchor(title)}) | {found} | "
                         f"{corrected} |")
    return lines


def anchor(title):
    """Of a heading, as GitHub makes it."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def section(title, claims, seen):
    """Its figures and tables, then a row for each verdict."""
    lines = [f"\n## {title}\n"]
    for recipe in RECIPES:
        if recipe.SECTION != title:
            continue
        drawn = [(path, caption) for path, caption in filter(None, recipe.figures()) if path]
        for path, caption in drawn:
            lines.append(f"![{caption}]({path.relative_to(README.parent)})\n\n{caption}\n")
        table = recipe.overview() if hasattr(recipe, "overview") else []
        if drawn or table:
            lines += [*table, f"\n`python3 experiments/report.py run {recipe.__name__}`\n"]
    rows = [(claim, each) for claim in claims for each in seen.get(claim["id"], [])]
    if rows:
        lines.append("| claim | the paper | run here | seen | effect | verdict |\n"
                     "|---|---|---|---|---|---|")
    for claim, each in rows:
        words = f"`{claim['id']}` {claim['claim']}"
        told = each.verdict + (f"; next: {each.larger}" if each.verdict == OPEN else "")
        lines.append("| " + " | ".join(map(cell, (words, claim["paper"], each.ran, each.seen,
                                                  effect(each.tests), told))) + " |")
    if missing := [f"`{claim['id']}`" for claim in claims if claim["id"] not in seen]:
        lines.append("\nNot run: " + ", ".join(missing) + ".")
    return lines


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
    holds = after_holm(seen)
    tested = [name for name in holds if of_claim(seen[name]) in (SHOWN, CONTRADICTED)]
    return {"rows": len(rows(seen)), "family": len(holds), "tested": len(tested),
            "holm": sum(holds[name] for name in tested),
            "changed": sum(a != b for a, b in zip(rows(seen), rows(without_interval())))}


def write_readme():
    seen = look()
    sections = claims_by_section()
    known = {claim["id"] for _, claims in sections for claim in claims}
    for name in seen:
        assert name in known, f"{name} is not in claims.md"
    words = [of_claim(rows) for rows in seen.values()]
    told = ", ".join(f"{words.count(v)} {v}" for v in (*VERDICTS, SPLIT))
    page = [INTRO, f"**{what_was_run()}** Of {len(known)} claims {len(seen)} were looked at: "
            f"{told}."]
    if path := overview.figure():
        page.append(f"\n![Ten placements by learning rate and depth: loss, rates, growth]"
                    f"({path.relative_to(README.parent)})\n\nWhich claims stand behind it, and where "
                    "their figures are: [in short](#in-short).")
    page += corrections.top(counted(seen))
    page += in_short(sections, seen)
    for title, claims in sections:
        page += section(title, claims, seen)
    README.parent.mkdir(parents=True, exist_ok=True)
    README.write_text("\n".join(page) + "\n")
    print(f"{README}: {len(results())} runs, {told}")


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


def run(recipe, end):
    """Does them, and those that a recipe wants in view of what they showed. Returns how many are
    left at the time `end`."""
    while wanted := list(map(looked_at, missing(recipe).values())):
        minutes = None if end is None else (end - time.monotonic()) / 60
        now = [each for each in wanted if each.seed == wanted[0].seed or not by_seed(recipe)]
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
        write_readme()
        placements.write_table()


if __name__ == "__main__":
    main()
