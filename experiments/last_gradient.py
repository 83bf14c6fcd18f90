"""The gradient of the last MLP's second matrix, and Proposition 3.1's bound of it (Figure 5).

Figure 5(a) is a stable training, 5(b) one that fails with one seed and not with another.
"""
from math import isfinite
from statistics import StatisticsError, correlation, median

import matched
from draw import Curve, Panel, band, figure
from lab import SEEDS, THREE, result, runs, wide_results
from learning_rate import around_shared_rate, grid
from measures import FIVE, between, done, largest, length, over_steps, rises
from verdict import CONTRADICTED, OPEN, SHOWN, Claim, joint, judge, pairs, spread, verdict

SECTION = "Gradients"
RAN = "12 layers, 300 steps of 16 x 64 bytes, probed every 50, seeds 11 to 13"


def without_final_norm():
    return runs("S64", ("pre",), around_shared_rate(), FIVE, probe=50, final_norm="off")


def wanted():
    return without_final_norm()


def at_start(r):
    return r.value("last_layer_gradient", 0)


def later(r):
    values = [value for step, value in r.over_time("last_layer_gradient") if step]
    return median(values) if values else float("nan")


# ---- runs that go astray ------------------------------------------------------------------------

def event(r):
    """The step at which the loss rises or the run diverges; None for a steady run."""
    return next(iter(rises(r)), length(r) if r.diverged else None)


def jump(r, at):
    """`last_layer_gradient` in the probes around a step, over its median before."""
    series = [value if isfinite(value) else float("inf")
              for _, value in r.over_time("last_layer_gradient")]
    reached = sum(step <= at for step, _ in r.over_time("last_layer_gradient"))
    first = max(1, reached - 1)
    around = series[first:reached + 1]
    return max(around) / median(series[:first]) if around else float("nan")


def astray():
    """[(run, event, jump, the same steps' jumps of steady runs at this rate)] of Pre-LN."""
    found = []
    for rate in grid("pre"):
        made = [(run, result(run)) for run in runs("S64", ("pre",), (rate,), SEEDS) if result(run)]
        steady = [r for _, r in made if event(r) is None]
        found += [(run, event(r), jump(r, event(r)), [jump(s, event(r)) for s in steady])
                  for run, r in made if event(r) is not None]
    return found


# ---- figures ------------------------------------------------------------------------------------

def figures():
    panels = [Panel(f"stable: {name}", "step", "gradient norm of the last layer",
                    [Curve(norm, over_steps(runs_of(norm), "last_layer_gradient"), norm, marks=True)
                     for norm in THREE], logy=True)
              for name, runs_of in matched.settings()]
    for rate in sorted({run.lr for run, *_ in astray()}, key=float)[:1]:
        panels.append(Panel(f"pre at {rate}: seeds that go astray, and others", "step",
                            "gradient norm of the last layer",
                            [Curve(f"seed {run.seed}", result(run).over_time("last_layer_gradient"),
                                   marks=True)
                             for run in runs("S64", ("pre",), (rate,), SEEDS) if result(run)],
                            logy=True))
    share = lambda r: [(step, value / r.value("last_layer_bound", step))
                       for step, value in r.over_time("last_layer_gradient")]
    panels.append(Panel("share of the bound: width 128, 2e-3", "step", "gradient over its bound",
                        [Curve(norm, band([share(r) for r in
                                           done(runs("S128", (norm,), ("2e-3",), SEEDS))]), norm)
                         for norm in THREE]))
    return [(figure("last_gradient", "Gradient norm of the last layer (Figure 5): " + RAN, panels),
             "Norm of the gradient of the last MLP's second matrix over training; a run that goes "
             "astray, where there is one; and the norm's share of the bound of Proposition 3.1.")]


# ---- claims -------------------------------------------------------------------------------------

def levels():
    """The three placements' values in each setting."""
    parts = []
    for name, runs_of in matched.settings():
        for when, measure in (("step 0", at_start), ("later", later)):
            values = [f"{norm} {between([measure(r) for r in done(runs_of(norm))])}"
                      for norm in THREE]
            parts.append(f"{name}, {when}: {', '.join(values)}")
    return "; ".join(parts)


def order_claims():
    if not any(done(matched.runs_of("S64", norm)) for norm in THREE):
        return []
    found = []
    for title, above, below in (("Post > Pre", "post", "pre"), ("Pre > Peri", "pre", "peri")):
        verdicts = [verdict(pairs(matched.runs_of(scale, above), matched.runs_of(scale, below),
                                  later))
                    for scale in matched.INIT]
        found.append(Claim("final-gradient-order", RAN, f"{title}: matched, later, width 128 "
                           f"{verdicts[0]}, width 64 {verdicts[1]}. {levels()}", joint(verdicts)))
    return found


def diverging_claim():
    probed = done(runs("S64", ("pre",), grid("pre"), SEEDS))
    if not probed:
        return []
    found = astray()
    jumps = [jump for _, _, jump, _ in found]
    lone = [controls for *_, controls in found if controls]
    words = [f"{run.lr} seed {run.seed} at step {at}: {jump:.2g} times (others at this rate: "
             f"{', '.join(f'{c:.2g}' for c in controls) or 'none steady'}; largest |x| at the end "
             f"{largest(result(run))[0]:.3g})" for run, at, jump, controls in found]
    shown = jumps and min(jumps) >= 3 and all(c < 3 for controls in lone for c in controls)
    gone = len(jumps) >= 3 and max(jumps) < 3
    return [Claim("final-gradient-diverging", "Pre-LN, 12 x 64, all rates, seeds 11 to 13",
                  f"{len(found)} of {len(probed)} runs rise or diverge; last layer's gradient then "
                  f"over its median before: {'; '.join(words) or 'none'}",
                  judge(shown, gone) if lone else OPEN)]


def correlations(wanted, other):
    """Over the probes of each run: the gradient's correlation with another quantity."""
    found = []
    for r in done(wanted):
        steps, gradients = zip(*r.over_time("last_layer_gradient"))
        try:
            found.append(correlation(gradients, [other(r, step) for step in steps]))
        except StatisticsError:  # one of them does not vary
            found.append(float("nan"))
    return found


def proposition_pre_claim():
    groups = [(f"width 128, {rate}", runs("S128", ("pre",), (rate,), SEEDS))
              for rate in ("2e-3", "8e-3")]
    with_norm, without = [name for name, _ in groups], ["width 64 without final norm"]
    groups.append((without[0], without_final_norm()))
    groups = [(name, wanted) for name, wanted in groups if done(wanted)]
    if not groups:
        return []
    bound = lambda r, step: r.value("last_layer_bound", step)
    top = lambda r, step: largest(r, step)[0]
    words = {name: f"{name}: with the largest |x| {spread(correlations(wanted, top), '.2f')}, with "
             f"the bound, which holds |h|, {spread(correlations(wanted, bound), '.2f')}"
             for name, wanted in groups}
    found = [Claim("proposition-pre", "unit test", "the algebra: Eq. 11 holds in its own setting "
                   "(tests/test_proposition.cpp, in make test)", SHOWN)]
    for title, names in (("with the final norm that Pre-LN has", with_norm), ("without", without)):
        chosen = [(name, wanted) for name, wanted in groups if name in names]
        if chosen:
            found.append(Claim("proposition-pre", "Pre-LN, 300 steps, probed every 50",
                               f"in training, {title}: correlation over the probes, "
                               + "; ".join(words[name] for name, _ in chosen), OPEN,
                               larger="a probe of |h|, which these runs did not measure"))
    return found


def shares():
    """{placement: gradient over bound, at every probe of every run}"""
    found = {}
    for r in wide_results().values():
        for step, value in r.over_time("last_layer_gradient"):
            share = value / (r.value("last_layer_bound", step) or float("nan"))
            if isfinite(share):
                found.setdefault(r.row["name"].split()[1], []).append(share)
    return found


def proposition_bounds_claim():
    found = shares()
    if not {"peri", "post"} <= set(found):
        return []
    values = [share for list_ in found.values() for share in list_]
    rounding = 2e-3  # values are kept to four digits, training computes in fp32
    words = [f"{norm} {spread(list_, '.2f')}" for norm, list_ in sorted(found.items())]
    return [Claim("proposition-peri-post", f"unit tests; {len(values)} probes of all runs",
                  "gradient over its bound: " + ", ".join(words),
                  CONTRADICTED if max(values) > 1 + rounding else SHOWN)]


def claims():
    return (order_claims() + diverging_claim() + proposition_pre_claim()
            + proposition_bounds_claim())
