"""What causes Peri-LN's lead over Pre-LN: placement, embedding norm, initialisation and warmup, all
crossed (beyond the paper).

An arm is one of the 16 settings, (placement, embedding norm, initialisation, steps of warmup). Its
loss with a seed is that at the rate which is best for its *other* seeds. causes_ten.py has all ten
placements.
"""
from itertools import combinations, product
from math import prod
from statistics import mean

from draw import Curve, Panel, figure
from lab import finished, result, runs
from measures import FIVE, done, widened
from verdict import Claim, interval, loss, test, verdict

SECTION = "What causes the lead"
RAN = "12 x 64, 600 steps of 16 x 64 bytes, each at its best rate"
BY_SEED = True  # report.py does the runs of a seed before those of the next
STEPS = 600
LADDER = ("5e-4", "1e-3", "2e-3", "4e-3", "8e-3", "1.6e-2", "3.2e-2", "6.4e-2", "1.28e-1",
          "2.56e-1", "5.12e-1")
FACTORS = {"placement": ("pre", "peri"), "norm": ("off", "on"), "init": ("0.02", "0.08"),
           "warmup": (30, 90)}
ARMS = list(product(*FACTORS.values()))
CELLS = list(product(*list(FACTORS.values())[1:]))  # an arm without its placement
DARK, LIGHT = "#1a1a1a", "#bc8f5f"  # no placement's


def runs_of(arm, rate, seeds=FIVE):
    norm, embedding, init, warmup = arm
    flags = {"steps": STEPS, "warmup": f"{warmup / STEPS:g}"}
    if init != "0.02":
        flags["init"] = f"normal:{init}"
    if embedding != ("on" if norm == "peri" else "off"):
        flags["embedding_norm"] = embedding
    return runs("S64", (norm,), (rate,), seeds, **flags)


def grid(arm, seeds=FIVE):
    """Three rates, and more wherever the mean over the first k seeds is lowest at an end. Later
    seeds never take a rate away."""
    lowest = {"peri": "4e-3"}.get(arm[0], "2e-3")
    first = LADDER.index("6.4e-2" if arm[:3] == ("peri", "off", "0.02") else lowest)
    rates = LADDER[first:first + 3]
    for k in range(1, len(seeds) + 1):
        def mean_loss(rate):
            made = done(runs_of(arm, rate, seeds[:k]))
            return mean(map(loss, made)) if len(made) == k else None
        rates = widened(LADDER, LADDER.index(rates[0]), LADDER.index(rates[-1]) + 1, mean_loss)
    return rates


def wanted_of(arms, seeds):
    grids = {arm: grid(arm, seeds) for arm in arms}
    return [run for seed in seeds for arm in arms for rate in grids[arm]
            for run in runs_of(arm, rate, (seed,))]


def wanted():
    return wanted_of(ARMS, FIVE)


# ---- the loss of an arm -------------------------------------------------------------------------

def table(arm, seeds=FIVE):
    """{rate: {seed: loss}} of the seeds that have all rates of the arm's grid."""
    found = {rate: {run.seed: loss(r) for run, r in finished(runs_of(arm, rate, seeds))}
             for rate in grid(arm, seeds)}
    whole = set.intersection(*map(set, found.values()))
    return {rate: {s: at[s] for s in seeds if s in whole} for rate, at in found.items()}


def best(at, seed=None):
    """The rate with the lowest mean loss over the seeds of a table but one."""
    return min(at, key=lambda rate: mean(x for s, x in at[rate].items() if s != seed))


def losses(arm, seeds=FIVE):
    """{seed: loss at the best rate of the others}; empty with fewer than two."""
    at = table(arm, seeds)
    there = next(iter(at.values()))
    return {seed: at[best(at, seed)][seed] for seed in there} if len(there) > 1 else {}


def contrast(terms, seeds=FIVE):
    """Sum of weight x loss over [(weight, arm)], by seed, of the seeds that have all arms."""
    found = [(weight, losses(arm, seeds)) for weight, arm in terms]
    common = [seed for seed in seeds if all(seed in at for _, at in found)]
    return [sum(weight * at[seed] for weight, at in found) for seed in common]


def effect(*factors):
    """Terms of a factor's effect (second level less first), or of several factors' interaction."""
    sign = lambda arm: prod(1 if arm[i] == levels[1] else -1
                            for i, (name, levels) in enumerate(FACTORS.items()) if name in factors)
    return [(sign(arm) * 2 ** len(factors) / len(ARMS), arm) for arm in ARMS]


def lead(cell, of_pre=None, weight=1):
    """Terms of Pre-LN's loss less Peri-LN's; `of_pre`: Pre-LN's cell where it is another."""
    return [(weight, ("pre", *(of_pre or cell))), (-weight, ("peri", *cell))]


def told(init, warmup, weight=1):
    """The lead as it is usually told: the embedding norm in Peri-LN alone."""
    return lead(("on", init, warmup), ("off", init, warmup), weight)


# ---- figures ------------------------------------------------------------------------------------

def words(cell):
    return f"norm {cell[0]}, {cell[1]}, {cell[2]} steps"


def contrasts():
    """{title: {label: by seed}} for the figure and the table."""
    leads = {words(cell): lead(cell) for cell in CELLS}
    leads |= {f"as told, {init}, {warmup} steps": told(init, warmup)
              for init, warmup in product(*list(FACTORS.values())[2:])}
    pairs = {" x ".join(names): effect(*names) for m in (1, 2)
             for names in combinations(FACTORS, m)}
    return {title: {label: contrast(terms) for label, terms in group.items()} for title, group in
            (("Pre-LN's loss less Peri-LN's", leads), ("effect or interaction", pairs))}


def dots(values_by_label, colour, label, shift=0.0):
    """A dot a label with its 95 % interval, the first on top."""
    points = []
    for row, values in enumerate(values_by_label.values()):
        if len(values) > 1:
            found = test(values)
            points.append((found.mean, len(values_by_label) - row + shift, found.low, found.high))
    return Curve(label, points, colour, bars=True)


def dot_panel(title, x, labels, curves, zero=True):
    labels = tuple(labels)
    line = [Curve("", [(0, 0.5), (0, len(labels) + 0.5)], "#999999")] if zero else []
    return Panel(title, x, "", line + curves, rows=labels)


def figures():
    drawn = {title: found for title, found in contrasts().items()
             if any(len(values) > 1 for values in found.values())}
    if not drawn:
        return []
    panels = [dot_panel(title, "nats a byte", found, [dots(found, DARK, "mean, 95 % interval")])
              for title, found in drawn.items()]
    return [(figure("causes", f"What causes the lead: {RAN}", panels, 2),
             "Left: the lead in each cell (embedding norm, standard deviation of the initial "
             "weights, steps of warmup), and as it is told, with the norm in Peri-LN alone. Right: "
             "what Peri-LN, the embedding norm, the larger initialisation and the longer warmup do "
             "to the loss, and by how much the one's effect is larger where the other is there. "
             "Means over the seeds with 95 % intervals.")]


def missing(recipe_runs, adapts=False):
    """A sentence where runs are missing. adapts: what these show decides which are made next."""
    left = [run for run in recipe_runs if not result(run)]
    seeds = ", ".join(map(str, sorted({run.seed for run in left})))
    more = ", and what these ask for" * adapts
    return [f"\nMissing: {len(left)} of {len(recipe_runs)} runs, of seeds {seeds}{more}."] * bool(left)


def arms_table(arms, seeds):
    """A row an arm that has been run."""
    rows = []
    for arm in arms:
        at, found = table(arm, seeds), losses(arm, seeds)
        if found:
            rate, rates = best(at), list(at)
            end = " (end of its grid)" * (rate in (rates[0], rates[-1]))
            rows.append(f"| {arm[0]} | {' | '.join(map(str, arm[1:]))} | {rate}{end} | "
                        f"{mean(found.values()):.4f} | {len(found)} |")
    return ["| placement | embedding norm | initialisation | warmup | best rate | loss | seeds |",
            "|---|---|---|---|---|---|---|", *rows] if rows else []


def overview():
    arms = arms_table(ARMS, FIVE)
    if not arms:
        return []
    lines = [f"Each arm, {RAN}.\n", *arms, "\n| effects and interactions | nats a byte |",
             "|---|---|"]
    lines += [f"| {label} | {interval(values)} |" for label, values in
              contrasts()["effect or interaction"].items()]
    return lines + missing(wanted())


# ---- claims -------------------------------------------------------------------------------------

def row(name, title, terms):
    found = contrast(terms)
    if len(found) < 2:
        return []
    return [Claim(name, f"{RAN}, seeds 11 to 15", f"{title}: {interval(found)}", verdict(found))]


def gain(norm, init, weight):
    """Terms of what the embedding norm gains, the mean over both warmups."""
    return [(sign * weight / 2, (norm, which, init, warmup)) for warmup in FACTORS["warmup"]
            for sign, which in ((1, "off"), (-1, "on"))]


def placement():
    found = row("cause-placement", "pre minus peri, embedding norm on, 0.08, 90 steps",
                lead(("on", "0.08", 90)))
    others = "; ".join(f"{words(cell)} {interval(values)}" for cell in CELLS[:-1]
                       if len(values := contrast(lead(cell))) > 1)
    for claim in found:
        claim.seen += f". Other cells: {others or 'not run'}"
    return found


def claims():
    inits, warmups = FACTORS["init"], FACTORS["warmup"]
    found = placement()
    for init, warmup in (("0.02", 30), ("0.08", 90)):
        found += row("cause-embedding-norm", f"{init}, {warmup} steps: lead as told less twice "
                     "that with the norm in both",
                     told(init, warmup) + lead(("on", init, warmup), weight=-2))
    for warmup in warmups:
        found += row("cause-initialisation", f"{warmup} steps: lead as told at 0.02 less at 0.08",
                     told(inits[0], warmup) + told(inits[1], warmup, -1))
    for init in inits:
        found += row("cause-warmup", f"{init}: lead as told with 30 steps less with 90",
                     told(init, warmups[0]) + told(init, warmups[1], -1))
    for norm in FACTORS["placement"]:
        found += row("cause-same-work", f"{norm}: gain by the norm at 0.02 less at 0.08",
                     gain(norm, inits[0], 1) + gain(norm, inits[1], -1))
    return found
