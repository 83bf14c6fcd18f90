"""The report: README.md with the findings and a line a claim, and in report/ a page a theme."""
import re
from collections import Counter

import corrections
import overview
import story
from lab import HERE, RESULTS, results
from verdict import CONTRADICTED, OPEN, SHOWN, SPLIT, effect, holm, of_claim, p_of_claim

README = RESULTS.parent / "README.md"
PAGES = RESULTS.parent / "report"
WORDS = (SHOWN, CONTRADICTED, OPEN)


# ---- claims -------------------------------------------------------------------------------------

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


def looked_at():
    """{figure: what someone saw who looked at it}, of looked_at.md."""
    found = re.findall(r"^## (\S+)\n\n(.*?)(?=\n## |\Z)", (HERE / "looked_at.md").read_text(), re.M | re.S)
    return {name: text.strip() for name, text in found}


def after_holm(seen):
    """{claim: whether its verdict holds after the correction}, of those that rest on tests. An open
    or mixed one counts in the family with a p of 1."""
    ps = {name: p_of_claim(rows) if of_claim(rows) in (SHOWN, CONTRADICTED) else 1.0
          for name, rows in seen.items() if p_of_claim(rows) is not None}
    return dict(zip(ps, holm(list(ps.values()))))


def told(rows, holds):
    """A claim's verdict in words; `holds`: of after_holm."""
    found = of_claim(rows)
    if found == SPLIT:
        words = [str(row.verdict) for row in rows]
        return f"mixed: {', '.join(f'{words.count(v)} {v}' for v in WORDS if v in words)}"
    return found + (" *" if found != OPEN and holds else "")


# ---- Markdown -----------------------------------------------------------------------------------

def cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")


def row(cells):
    return "| " + " | ".join(map(cell, cells)) + " |"


def anchor(title):
    """Of a heading, as GitHub makes it."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def weakest(tests):
    """Two cells: mean and 95 % interval, of several tests the weakest; and how many seeds."""
    if not tests:
        return "", ""
    found = max(tests, key=lambda test: test.p)
    more = f"; the weakest of {len(tests)}" if len(tests) > 1 else ""
    return f"{found.mean:+.3g} ({found.low:+.3g} to {found.high:+.3g}){more}", found.n


# ---- a page a theme -----------------------------------------------------------------------------

def pictures(recipe, words):
    """Its figures, each with what was seen in it, its tables and its command."""
    lines = []
    for path, caption in filter(None, recipe.figures()):
        if path:
            lines.append(f"![{caption}](../{path.relative_to(README.parent)})\n\n*{caption}*\n")
            if path.stem in words:
                lines.append(words[path.stem] + "\n")
    table = recipe.overview() if hasattr(recipe, "overview") else []
    if lines or table:
        lines += [*table, f"\n`python3 experiments/report.py run {recipe.__name__}`\n"]
    return lines


def details(claim, rows, holds):
    """A line, and folded the paper's words and what was run and seen, a row a setting."""
    words = re.sub(r"`(.+?)`", r"<code>\1</code>", claim["claim"])
    lines = [f"<details><summary><b>{told(rows, holds)}</b> {words}</summary>\n",
             "| claim | the paper | run here | seen | effect | verdict |", "|---|---|---|---|---|---|"]
    for each in rows:
        word = each.verdict + (f"; next: {each.larger}" if each.verdict == OPEN else "")
        lines.append(row((f"`{claim['id']}`", claim["paper"], each.ran, each.seen, effect(each.tests), word)))
    return [*lines, "\n</details>\n"]


def page(title, claims, seen, recipes):
    words, holds = looked_at(), after_holm(seen)
    lines = [f"# {title}\n", "[The report](../README.md); [what was claimed, and when](../claims.md)\n"]
    for recipe in recipes:
        if recipe.SECTION == title:
            lines += pictures(recipe, words)
    made = [claim for claim in claims if claim["id"] in seen]
    if made:
        lines.append("## Claims\n")
    for claim in made:
        lines += details(claim, seen[claim["id"]], holds.get(claim["id"]))
    if missing := [f"`{claim['id']}`" for claim in claims if claim["id"] not in seen]:
        lines.append("Not run: " + ", ".join(missing) + ".")
    return lines


# ---- the first page -----------------------------------------------------------------------------

def themes(sections, seen):
    """A line a page: what became of its claims."""
    lines = ["\n## By theme\n", "*Not at this scale*: looked at and not decided; *mixed*: settings disagree; the rules are "
             "[below](#how-it-was-done).\n", "| page | claims |", "|---|---|"]
    for title, claims in sections:
        words = Counter(of_claim(seen[claim["id"]]) if claim["id"] in seen else "not run" for claim in claims)
        lines.append(f"| [{title}](report/{anchor(title)}.md) | "
                     f"{', '.join(f'{n} {word}' for word, n in words.most_common())} |")
    return lines + ["| [What was corrected](report/corrected.md) | |"]


def every_claim(sections, seen):
    """A row a claim, without details."""
    holds = after_holm(seen)
    lines = ["\n## Every claim\n", "Effects are nats a byte where the claim is of losses; of what else they are (logarithms of ratios, "
             "counts, correlations) its page says. \\* holds after Holm's correction over all claims that rest on tests.\n",
             "| claim | effect (95 % interval) | n | verdict |", "|---|---|---|---|"]
    for title, claims in sections:
        for claim in claims:
            rows = seen.get(claim["id"], [])
            found, n = weakest([test for each in rows for test in each.tests])
            verdict = told(rows, holds.get(claim["id"])) if rows else "not run"
            lines.append(f"| [{cell(claim['claim'])}](report/{anchor(title)}.md) | {found} | {n} | {verdict} |")
    return lines


def first_page(sections, seen, counts):
    known = {claim["id"] for _, claims in sections for claim in claims}
    for name in seen:
        assert name in known, f"{name} is not in claims.md"
    words = [of_claim(rows) for rows in seen.values()]
    told_of = ", ".join(f"{words.count(v)} {v}" for v in (*WORDS, SPLIT))
    lines = [story.QUESTION]
    if path := overview.figure():
        lines.append(f"![Ten placements by learning rate and depth: loss, rates, growth]"
                     f"({path.relative_to(README.parent)})\n")
        lines += [looked_at()["overview"] + "\n"]
    lines += story.findings() + story.limits(counts) + themes(sections, seen)
    lines += [story.METHOD, f"**{story.what_was_run()}** Of {len(known)} claims {len(seen)} were looked at: {told_of}."]
    return lines + every_claim(sections, seen), told_of


def write(recipes, seen, counts):
    """All of it. counts: what corrections.py tells of the verdicts."""
    sections = claims_by_section()
    lines, told_of = first_page(sections, seen, counts)
    PAGES.mkdir(parents=True, exist_ok=True)
    README.write_text("\n".join(lines) + "\n")
    for title, claims in sections:
        (PAGES / f"{anchor(title)}.md").write_text("\n".join(page(title, claims, seen, recipes)) + "\n")
    (PAGES / "corrected.md").write_text("\n".join(corrections.page(counts)) + "\n")
    print(f"{README}: {len(results())} runs, {told_of}")
