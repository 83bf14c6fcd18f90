"""Training long enough to count: 20 bytes a parameter, none of them twice (Table 1 at our size)."""
from math import log, log2, nan, sqrt
from statistics import linear_regression, mean

from causes import missing
from draw import Curve, Panel, band, dots, figure
from lab import SCALES, SEEDS, finished, parameters, runs
from measures import FIVE, between, done, last_variance, smooth, spikes, widened
from verdict import FAILED_LOSS, Claim, failed, interval, loss, of_all, pairs, spread, verdict

SECTION = "Training long enough"
RAN = "20 bytes a parameter, each at its best rate"
ADAPTS = True  # report.py asks anew what is wanted after every few runs
LADDER = ("5e-4", "1e-3", "2e-3", "4e-3", "8e-3", "1.6e-2", "3.2e-2", "6.4e-2", "1.28e-1")
PAIR = [(norm, which) for norm in ("pre", "peri") for which in ("off", "on")]
OTHERS = [("olmo2", "off"), ("olmo2", "on"), ("post", "off"), ("keel", "off"), ("simple", "off")]
ARMS = PAIR + OTHERS
TOLD = (("pre", "off"), ("peri", "on"))  # the lead as it is usually told
WIDTHS = (24, 32, 48, 64, 96)
BYTES = {1: 312, 5: 1560, 20: 6240, 100: 31200}  # a parameter: steps at 12 x 64
FIRST = SEEDS[:1]  # the seed that chooses rates
# Arms, width, bytes a parameter and seeds in the order in which they are made; the last ones take hours.
GROUPS = ((PAIR, 64, 20, SEEDS), (PAIR, 64, 1, SEEDS), (PAIR, 64, 5, SEEDS), (OTHERS, 64, 20, SEEDS),
          (PAIR, 32, 20, SEEDS), (PAIR, 48, 20, SEEDS), (PAIR, 24, 20, SEEDS), (PAIR, 64, 20, FIVE),
          (TOLD, 64, 100, FIRST), (PAIR, 96, 20, SEEDS))
SETTINGS = (("the norm in Peri-LN alone", "off", "on"), ("in both", "on", "on"), ("in neither", "off", "off"))


def as_usual(arm):
    """Whether its embedding norm is as the placement has it."""
    return arm[1] == ("on" if arm[0] == "peri" else "off")


def runs_of(arm, rate, width=64, seeds=SEEDS, amount=20):
    flags = {"init": f"normal:{0.64 / sqrt(width):.4g}"}
    if not as_usual(arm):
        flags["embedding_norm"] = arm[1]
    if amount != 20:
        flags["steps"] = BYTES[amount]
    return runs(f"C{width}", (arm[0],), (rate,), seeds, **flags)


def loss_at(arm, rate, width, amount):
    """The first seed's; None where it has not been made."""
    made = done(runs_of(arm, rate, width, FIRST, amount))
    return loss(made[0]) if made else None


def grid(arm, width=64, amount=20):
    """Three rates, and more wherever the first seed's loss is lowest at an end. 100 bytes take the rate of 20."""
    if amount > 20:
        return ()
    return widened(LADDER, 2, 5, lambda rate: loss_at(arm, rate, width, amount))


def best(arm, width=64, amount=20):
    """The rate with the first seed's lowest loss; None until all are there."""
    found = {rate: loss_at(arm, rate, width, min(amount, 20)) for rate in grid(arm, width, min(amount, 20))}
    return None if None in found.values() else min(found, key=found.get)


def at_best(arm, width=64, amount=20):
    """The runs of all seeds that it is given."""
    rate = best(arm, width, amount)
    seeds = max((group[3] for group in GROUPS if arm in group[0] and group[1:3] == (width, amount)), key=len, default=())
    return runs_of(arm, rate, width, seeds, amount) if rate else []


def wanted():
    """Of arms that have no best rate yet the sweep alone."""
    found = []
    for arms, width, amount, seeds in GROUPS:
        found += [run for arm in arms for rate in grid(arm, width, amount)
                  for run in runs_of(arm, rate, width, FIRST, amount)]
        found += [run for arm in arms for run in at_best(arm, width, amount) if run.seed in seeds]
    return list({run.name: run for run in found}.values())


# ---- what was seen ------------------------------------------------------------------------------

def label(arm):
    return arm[0] if as_usual(arm) else f"{arm[0]}, {'no ' * (arm[1] == 'off')}embedding norm"


def tail(r):
    """Mean training loss over the last sixth of the steps: of text that is new to the run, and more of it than is
    held out."""
    if failed(r):
        return FAILED_LOSS
    values = [value for step, value in r.series("loss") if step > 5 / 6 * r.metrics[-1][0]]
    return mean(values) if values else nan


def gain(norm, amount=20, width=64):
    """Of the embedding norm: the loss without less the loss with it, by seed."""
    return pairs(at_best((norm, "off"), width, amount), at_best((norm, "on"), width, amount))


def lead(of_pre, of_peri, width=64, amount=20, measure=loss):
    """By seed."""
    return pairs(at_best(("pre", of_pre), width, amount), at_best(("peri", of_peri), width, amount), measure)


def whole(arms):
    """The widths at which these have all seeds."""
    return [width for width in WIDTHS if all(len(done(at_best(arm, width))) >= len(SEEDS) for arm in arms)]


def slopes():
    """Of the lead as told over log2 of the width, by seed, and the widths."""
    widths = whole(TOLD)
    if len(widths) < 3:
        return [], widths
    at = [lead("off", "on", width) for width in widths]
    return [linear_regression(list(map(log2, widths)), by_seed).slope for by_seed in zip(*at)], widths


def compute(width):
    """Operations of a run: 6 for each parameter and byte."""
    s = SCALES[f"C{width}"]
    return 6 * parameters(s["layers"], width, s["ffn"]) * s["steps"] * s["batch"] * s["seq"]


def power_law(points):
    """(E, A, alpha) of loss = E + A (C / C_first)^-alpha, by least squares; None with fewer than four points, and where
    no alpha between 0.01 and 2 is the best with an E above 0."""
    if len(points) < 4:
        return None
    first, losses = points[0][0], [y for _, y in points]
    tried = [i / 1000 for i in range(10, 2001)]

    def line(alpha):
        xs = [(c / first) ** -alpha for c, _ in points]
        A, E = linear_regression(xs, losses)
        return sum((E + A * x - y) ** 2 for x, y in zip(xs, losses)), E, A, alpha
    _, E, A, alpha = min(map(line, tried))
    return (E, A, alpha) if tried[0] < alpha < tried[-1] and E > 0 else None


def fits(arm):
    """By seed, over the widths that all seeds have."""
    at = {width: [loss(r) for r in done(at_best(arm, width))] for width in whole([arm])}
    found = [power_law(list(zip(map(compute, at), by_width))) for by_width in zip(*at.values())]
    return list(filter(None, found))


# ---- figures ------------------------------------------------------------------------------------

def over_rates(arm):
    points = [(float(rate), loss(r)) for rate in grid(arm) for r in done(runs_of(arm, rate, 64, FIRST)) if not failed(r)]
    return Curve(label(arm), points, arm[0], dashed=not as_usual(arm), marks=True)


def in_training(arm):
    series = [smooth(r.series("loss")) for r in done(at_best(arm)) if not failed(r)]  # of every tenth step
    return Curve(label(arm), [p for p in band(series) if p[0] > 600], arm[0], dashed=not as_usual(arm))


def by_arm():
    """A row an arm, a dot a seed."""
    curves = []
    for row, arm in enumerate(ARMS):
        found = [loss(r) for r in done(at_best(arm)) if not failed(r)]
        curves.append(Curve("", dots(found, len(ARMS) - row, 0.2), arm[0], bars=True))
    return Panel("12 x 64, best rates", "validation loss (nats a byte)", "", curves, rows=tuple(map(label, ARMS)))


def over(label, colour, xs, by_x):
    found = [(x, by_x(x)) for x in xs]
    return Curve(label, [(x, mean(at), min(at), max(at)) for x, at in found if at], colour, marks=True)


def leads_over(xs, key):
    """key: "amount" or "width"."""
    colours = ("#1a1a1a", "#7a4a1e", "#bc8f5f")  # no placement's
    return [over(title, colour, xs, lambda x, arms=arms: lead(*arms, **{key: x}))
            for colour, (title, *arms) in zip(colours, SETTINGS)]


def gains_over(xs, key):
    return [over(norm, norm, xs, lambda x, norm=norm: gain(norm, **{key: x})) for norm in ("pre", "peri")]


def figures():
    rates = "peak learning rate", "validation loss (nats a byte)"
    spans = (("12 x 64", "bytes a parameter", BYTES, "amount"), ("20 bytes", "width", WIDTHS, "width"))
    panels = [Panel("12 x 64, seed 11", *rates, [over_rates(arm) for arm in PAIR], logx=True),
              Panel("12 x 64, seed 11: others", *rates, [over_rates(arm) for arm in (("peri", "on"), *OTHERS)], logx=True),
              Panel("12 x 64, best rates", "step", "training loss (nats a byte)", [in_training(arm) for arm in PAIR]),
              by_arm(),
              *(Panel(f"{what}: the lead", x, "Pre-LN's loss less Peri-LN's (nats a byte)", leads_over(xs, key), logx=True)
                for what, x, xs, key in spans),
              *(Panel(f"{what}: what the embedding norm gains", x, "loss without less with it (nats a byte)",
                      gains_over(xs, key), logx=True) for what, x, xs, key in spans)]
    panels = [panel for panel in panels if any(len(curve.points) > 1 for curve in panel.curves)]
    if not panels:
        return []
    return [(figure("optimal", f"Training long enough: {RAN}", panels, 2),
             "Loss over the rates and in training, of runs that see 20 bytes for each parameter and none twice; the lead, by which "
             "has the embedding norm, and what that norm gains, of runs that see fewer and more, and of other widths. Mean and range "
             "over the seeds, without runs that failed. Seed 11 has chosen the rates, and is one of those that compare.")]


def overview():
    rows = []
    for arm in ARMS:
        if found := [loss(r) for r in done(at_best(arm))]:
            end = " (end of its grid)" * (best(arm) in (LADDER[0], LADDER[-1]))
            made = done(at_best(arm))
            rows.append(f"| {label(arm)} | {best(arm)}{end} | {mean(found):.4f} | {between(map(last_variance, made))} | "
                        f"{between([spikes(r) for r in made], '.0f')} | {len(found)} |")
    if not rows:
        return []
    return [f"12 x 64, {SCALES['C64']['steps']:,} steps, {RAN}.\n", "| arm | best rate | loss | variance of the last state | "
            "steps with a spike | seeds |", "|---|---|---|---|---|---|", *rows, *table_of_fits(), *missing(wanted(), ADAPTS)]


def table_of_fits():
    """Of the loss over compute."""
    rows = [f"| {label(arm)} | {spread([f[0] for f in found])} | {spread([f[2] for f in found])} |"
            for arm in PAIR if (found := fits(arm))]
    return ["\nloss = E + A C^-alpha over the widths, C the operations of a run; of the seeds whose best alpha lies inside what was tried:\n", "| arm | E | alpha |",
            "|---|---|---|", *rows] if rows else []


# ---- claims -------------------------------------------------------------------------------------

def leads():
    found = []
    for title, *arms in SETTINGS:
        ahead = lead(*arms)
        if len(ahead) >= len(SEEDS):
            found.append(Claim("optimal-lead", f"12 x 64, {RAN}", f"{title}: {interval(ahead)}; training loss over the last "
                               f"sixth {interval(lead(*arms, measure=tail))}", verdict(ahead), "C96"))
    return found


def behind():
    """The better of Peri-LN's arms, and {other placement's arm: its loss less that one's, by seed}; None until all have
    all seeds."""
    if 64 not in whole(ARMS):
        return None
    leader = min((arm for arm in PAIR if arm[0] == "peri"), key=lambda arm: mean(map(loss, done(at_best(arm)))))
    return leader, {arm: pairs(at_best(arm), at_best(leader)) for arm in ARMS if arm[0] != "peri"}


def order():
    if not (found := behind()):
        return []
    leader, others = found
    words = "; ".join(f"{label(arm)} {interval(less)}" for arm, less in others.items())
    return [Claim("optimal-order", f"12 x 64, {RAN}", f"behind {label(leader)}: {words}",
                  of_all(map(verdict, others.values())))]


def widths():
    found, made = slopes()
    if not found:
        return []
    words = "; ".join(f"{width} {interval(lead('off', 'on', width))}" for width in made)
    return [Claim("optimal-width", RAN, f"slope a doubling {interval(found)}; leads by width: {words}",
                  verdict(found))]


def shrinks(name, title, by_amount):
    """By the slope over the log of the bytes, of those that all seeds have seen."""
    at = {amount: by_amount(amount) for amount in BYTES}
    few = [amount for amount in BYTES if amount <= 20]
    if any(len(at[amount]) < len(SEEDS) for amount in few):
        return []
    slopes = [linear_regression(list(map(log, few)), by_seed).slope for by_seed in zip(*(at[n] for n in few))]
    told = "; ".join(f"{amount} bytes {interval(found) if len(found) > 1 else f'{found[0]:+.3f} (one seed)'}"
                     for amount, found in at.items() if found)
    return [Claim(name, "12 x 64, best rates", f"{title}: {told}; slope over log bytes {interval(slopes)}",
                  verdict([-slope for slope in slopes]))]


def claims():
    told = lambda amount: lead("off", "on", amount=amount)
    return (leads() + order() + widths() + shrinks("optimal-bytes", "lead", told)
            + sum((shrinks("optimal-norm", f"{norm}, gain", lambda amount, norm=norm: gain(norm, amount))
                   for norm in ("pre", "peri")), []))
