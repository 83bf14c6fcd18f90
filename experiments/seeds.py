"""Placements at their best rates, with seeds that had no part in choosing these (Table 1; Figures
3(b), 3(c), 13).

Also Pre-LN and Peri-LN at R, R/2 and R/4, for the claims on seeds and on early instability.
"""
from statistics import mean, stdev

import matched
from draw import Curve, Panel, band, figure
from lab import LATER, SEEDS, STEPS, THREE, placements, runs
from learning_rate import QK, best_rate, caution, shared_rate, times
from measures import done, smooth, spikes
from verdict import Claim, failed, judge, loss, pairs, spread, verdict

SECTION = "Learning rate and loss"
RAN = "12 x 64, 300 steps of 16 x 64 bytes, seeds 14 to 20"
CLAIMED = ("post", "pre", "peri", "input-main", "olmo2", "simple")


def run_at_best():
    """[(placement, flags)]: those of the claims first."""
    others = [norm for norm in placements() if norm not in CLAIMED]
    return ([(norm, {}) for norm in CLAIMED] + [("pre", QK), ("peri", QK)]
            + [(norm, {}) for norm in others])


def at(norm, rate, seeds=LATER, **flags):
    """The runs of a placement at a rate; none while the rate is not known."""
    return runs("S64", (norm,), (rate,), seeds, **flags) if rate else []


def own_best(norm, **flags):
    """Peri-LN with QK-norm is run at the best rate of Peri-LN without."""
    return best_rate(norm) if norm == "peri" else best_rate(norm, **flags)


def at_best(norm, **flags):
    return at(norm, own_best(norm, **flags), **flags)


def at_shared_rate(norm, factor=1, seeds=LATER):
    return at(norm, shared_rate() and times(shared_rate(), factor), seeds)


def wanted():
    at_rates = [run for norm in ("pre", "peri") for factor in (1, 1 / 2, 1 / 4)
                for run in at_shared_rate(norm, factor)]
    return at_rates + [run for norm, flags in run_at_best() for run in at_best(norm, **flags)]


def figures():
    panels = []
    for title, runs_of, norms in (("own best rates", at_best, THREE),
                                  ("at R", at_shared_rate, ("pre", "peri"))):
        for column, y in (("loss", "training loss"), ("grad_norm", "gradient norm")):
            curves = [Curve(norm, band([smooth(r.series(column), 5) for r in done(runs_of(norm))]),
                            norm) for norm in norms]
            panels.append(Panel(f"{y}, {title}", "step", f"{y}, means of 5 steps", curves,
                                logy=column == "grad_norm"))
    return [(figure("seeds", "Loss and gradient norm (Figures 3(b), 3(c), 13): " + RAN, panels, 2),
             "Training loss and gradient norm, means of 5 steps, mean and range over seven seeds.")]


def overview():
    """Table 1, of losses: the mean of all runs and, as the paper has it, of those that survived."""
    rows = []
    for norm, flags in run_at_best():
        made = done(at_best(norm, **flags))
        if len(made) < 2:
            continue
        label = norm + (" --qk-norm full" if flags else "")
        losses = [loss(r) for r in made]
        alive = [r.loss for r in made if not failed(r)]
        survivors = f"{mean(alive):.4f} (n = {len(alive)})" if alive else "none"
        rows.append((mean(losses), f"| {label} | {own_best(norm, **flags)} | {len(made)} | "
                     f"{mean(losses):.4f} | {stdev(losses):.4f} | {len(made) - len(alive)} | "
                     f"{survivors} |"))
    head = ["Table 1, of validation losses instead of benchmark scores: each placement at its own "
            f"best rate, {RAN}.\n",
            "| placement | rate | runs | mean | standard deviation | failed | mean of survivors |",
            "|---|---|---|---|---|---|---|"]
    return head + [row for _, row in sorted(rows)] if rows else []


# ---- claims -------------------------------------------------------------------------------------

def order(first, second, runs_of, where):
    """That the first placement's loss is below the second's."""
    found = pairs(runs_of(second), runs_of(first))
    if not found:
        return []
    losses = [f"{norm} at {runs_of(norm)[0].lr} {spread(list(map(loss, done(runs_of(norm)))))}"
              for norm in (first, second)]
    return [Claim("best-rate-order", RAN,
                  f"{first} below {second}, {where}: {', '.join(losses)}; lead "
                  f"{spread(found, '+.3f')}{caution() if first == 'peri' else ''}",
                  verdict(found))]


def elsewhere():
    """Pre-LN below Post-LN at another width and other initial values, seeds 11 to 13."""
    settings = [(f"12 x {scale[1:]}, {init}, at R", matched.runs_of(scale, "pre"),
                 matched.runs_of(scale, "post")) for scale, init in matched.INIT.items()]
    if best := best_rate("pre", "S128"):
        wide = lambda norm, rate: runs("S128", (norm,), (rate,), SEEDS)
        settings.insert(0, (f"12 x 128, pre at its best rate {best}, post at 2e-3 (of two tried)",
                            wide("pre", best), wide("post", "2e-3")))
    found = []
    for where, pre, post in settings:
        if lead := pairs(post, pre):
            found.append(Claim("best-rate-order", "300 steps of 16 x 64 bytes, seeds 11 to 13",
                               f"pre below post, {where}: pre {spread(list(map(loss, done(pre))))}"
                               f", post {spread(list(map(loss, done(post))))}; lead "
                               f"{spread(lead, '+.3f')}", verdict(lead)))
    return found


def after_warmup(r):
    """Spikes, the first tenth of the run left out."""
    return spikes(r, first=STEPS // 10 + 1)


def more_spikes(title, count):
    """Over all seeds at R; pairs that are tied decide nothing."""
    pre, peri = (at_shared_rate(norm, seeds=SEEDS + LATER) for norm in ("pre", "peri"))
    found = pairs(pre, peri, count)
    untied = [d for d in found if d]
    if not found:
        return []
    counts = [spread([count(r) for r in done(made)], ".1f") for made in (pre, peri)]
    enough = len(untied) >= 5
    return [Claim("spikes-pre", "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 20",
                  f"{title}, at {shared_rate()}: spikes a run, pre {counts[0]}, peri {counts[1]}; "
                  f"of {len(found)} pairs {sum(d > 0 for d in found)} have more with pre, "
                  f"{sum(d < 0 for d in found)} with peri; {other_rates(count)}",
                  judge(enough and min(untied) > 0, enough and max(untied) < 0))]


def other_rates(count):
    """The same at other rates, with the seeds of the sweep."""
    words = []
    for factor in (1 / 4, 1 / 2, 2, 4, 8):
        sums = [sum(map(count, done(at_shared_rate(norm, factor, SEEDS))))
                for norm in ("pre", "peri")]
        if done(at_shared_rate("pre", factor, SEEDS)):
            words.append(f"{sums[0]} against {sums[1]} at {times(shared_rate(), factor)}")
    return "in all with seeds 11 to 13, " + (", ".join(words) or "not run")


def left_out(values):
    """The standard deviation with each value in turn left out."""
    return [stdev(values[:i] + values[i + 1:]) for i in range(len(values))]


def seed_spread(where, runs_of):
    losses = {norm: {run.seed: loss(r) for run in runs_of(norm) for r in done([run])}
              for norm in ("pre", "peri")}
    seeds = sorted(set(losses["pre"]) & set(losses["peri"]))
    if len(seeds) < len(LATER) or len(seeds) < 3:
        return []
    pre, peri = ([losses[norm][seed] for seed in seeds] for norm in ("pre", "peri"))
    if stdev(pre) == 0 or min(left_out(pre)) == 0:
        return []
    ratios = [b / a for a, b in zip(left_out(pre), left_out(peri))]
    return [Claim("seed-spread-halved", RAN,
                  f"{where}: standard deviation of the loss, pre {stdev(pre):.4f}, peri "
                  f"{stdev(peri):.4f}, ratio {stdev(peri) / stdev(pre):.2f} ({min(ratios):.2f} to "
                  f"{max(ratios):.2f} with a seed left out)",
                  judge(max(ratios) < 1 / 2, min(ratios) > 1))]


def own_best_rates():
    """Of Pre-LN and Peri-LN, where they are not R: their runs are told once."""
    return any(own_best(norm) != shared_rate() for norm in ("pre", "peri"))


def claims():
    return ((order("peri", "pre", at_best, "own best rates") if own_best_rates() else [])
            + order("peri", "pre", at_shared_rate, "at R")
            + order("pre", "post", at_best, "own best rates") + elsewhere()
            + more_spikes("all steps", spikes) + more_spikes("without warmup", after_warmup)
            + seed_spread("at R", at_shared_rate)
            + (seed_spread("own best rates", at_best) if own_best_rates() else []))
