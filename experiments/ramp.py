"""How high a rising learning rate may go (KEEL's Table 1), and what a high rate does to KEEL.

KEEL's authors let the rate rise from 0 to 5e-2 and name the one at which the loss leaves; here in
500 steps, a tenth of theirs.
"""
from math import log
from statistics import mean

from draw import Curve, Panel, band, figure
from lab import FAST, SEEDS, placements, runs
from learning_rate import QK, best_rate, runs_of, shared_rate, times
from measures import done, sliding_mean
from verdict import CONTRADICTED, FAILED_ABOVE, SHOWN, Claim, joint, judge, pairs, spread, verdict

SECTION = "KEEL and SimpleNorm"
TOP, STEPS = 5e-2, 30 if FAST else 500
WINDOW, LEFT = 5 if FAST else 20, 0.2  # a mean of so many steps so many nats above its lowest: left
DEEP = () if FAST else ("post", "mix", "pre", "keel", "peri")  # what time allows at 48 layers


def ramp(norm, layers=12, **flags):
    depth = {} if layers == 12 else {"layers": layers}
    return runs("S64", (norm,), ("5e-2",), SEEDS, warmup=1, steps=500, **depth, **flags)


def wanted():
    return ([run for norm in placements() for run in ramp(norm)] + ramp("pre", **QK)
            + [run for norm in DEEP for run in ramp(norm, 48)])


def limit(r, never_learned=0):
    """The rate at which the loss was last near its lowest value so far, before leaving for good. A
    run that never learned more than how often each byte occurs has 0; as claims.md first had it,
    TOP."""
    lowest, stayed = float("inf"), 0
    for step, value in sliding_mean(r.series("loss"), WINDOW):
        lowest = min(lowest, value) if value == value else lowest
        if value <= lowest + LEFT:
            stayed = step
    return TOP * stayed / STEPS if lowest <= FAILED_ABOVE else never_learned


def figures():
    panels = []
    for layers, norms in ((12, placements()), (48, DEEP)):
        lines = [(norm, ramp(norm, layers), norm, False) for norm in norms]
        if layers == 12:
            lines.append(("pre --qk-norm full", ramp("pre", **QK), "pre", True))
        curves = [Curve(label, band([[(TOP * step / STEPS, value) for step, value in
                                      sliding_mean(r.series("loss"), WINDOW)]
                                     for r in done(made)]), colour, dashed)
                  for label, made, colour, dashed in lines]
        if any(curve.points for curve in curves):
            panels.append(Panel(f"{layers} layers", "learning rate", "training loss", curves))
    if not panels:
        return []
    return [(figure("ramp", f"Loss under a rising rate: width 64, {STEPS} steps of 16 x 64 bytes, "
                    "seeds 11 to 13", panels, 2),
             f"Training loss, mean of {WINDOW} steps, while the learning rate rises to 5e-2; mean "
             "and range over the seeds.")]


def overview():
    """As KEEL's Table 1 has it, of all placements."""
    rows = []
    lines = [(norm, norm, {}) for norm in placements()] + [("pre --qk-norm full", "pre", QK)]
    for label, norm, flags in lines:
        found = {layers: [limit(r) for r in done(ramp(norm, layers, **flags))]
                 for layers in (12, 48)}
        if found[12]:
            cells = [spread(values, ".2g") for values in found.values()]
            rows.append((-mean(found[12]), f"| {label} | {' | '.join(cells)} |"))
    head = ["The rate at which the loss leaves for good (5e-2: it never did; 0: it never "
            "learned; KEEL's Table 1), rising "
            f"to 5e-2 in {STEPS} steps of 16 x 64 bytes, seeds 11 to 13.\n",
            "| placement | 12 x 64 | 48 x 64 |", "|---|---|---|"]
    return head + [row for _, row in sorted(rows)] if rows else []


# ---- claims -------------------------------------------------------------------------------------

def limits(norm, layers=12, **flags):
    return spread([limit(r) for r in done(ramp(norm, layers, **flags))], ".3g")


def above(first, second, layers):
    """That the first placement holds out longer than the second."""
    higher, lower = ramp(first, layers), ramp(second, layers)
    by_rule = [pairs(higher, lower, lambda r: log(max(limit(r, never), TOP / STEPS)))
               for never in (0, TOP)]
    found = by_rule[0]
    if not found:
        return []
    beside = ""
    if (first, second) == ("keel", "pre"):  # of whom KEEL's table says nothing
        others = [f"peri {limits('peri', layers)}"]
        if layers == 12:
            others += [f"simple {limits('simple')}", f"pre --qk-norm full {limits('pre', **QK)}"]
        beside = "; beside them " + ", ".join(others)
    return [Claim("keel-max-rate",
                  f"{layers} x 64, {STEPS} steps of 16 x 64 bytes, rising to 5e-2, seeds 11 to 13",
                  f"{first} above {second}, {layers} layers: {first} {limits(first, layers)}, "
                  f"{second} {limits(second, layers)}{beside}",
                  joint(map(verdict, by_rule)), "5,000 steps and 64 layers, as there")]


def max_rate():
    order = (("keel", "pre"), ("pre", "mix"), ("pre", "deep"), ("pre", "post"))
    return [claim for layers in (12, 48) for first, second in order
            for claim in above(first, second, layers)]


def gains(norm, rates):
    """How much lower the loss is at the second rate, by seed."""
    return pairs(runs_of(norm, rates[0]), runs_of(norm, rates[1]))


def higher_rate():
    """Reproduced if KEEL gains and Pre-LN does not."""
    if not shared_rate():
        return []
    rates = (shared_rate(), times(shared_rate(), 4))
    found = {norm: gains(norm, rates) for norm in ("keel", "pre", "peri", "post")}
    if not found["keel"]:
        return []
    words = [f"{norm} {spread(values, '+.3f')}" for norm, values in found.items()]
    best = [f"{norm} {best_rate(norm)}" for norm in found]
    says = verdict(found["keel"])
    others = found["pre"] and mean(found["pre"]) > 0  # then the rate is not too high for it
    return [Claim("keel-higher-rate", "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 13",
                  f"gain from {rates[0]} to {rates[1]} (negative: a loss): {', '.join(words)}; "
                  f"best rates: {', '.join(best)}",
                  judge(says == SHOWN and not others, says == CONTRADICTED, [says]))]


def claims():
    return max_rate() + higher_rate()
