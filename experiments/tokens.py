"""More tokens and the best rate (Figure 16), and high rates in short runs (Appendix G.1)."""
from statistics import mean

from draw import Curve, Panel, figure
from lab import FAST, SEEDS, runs
from learning_rate import around_shared_rate
from measures import best_inside, done, widened
from verdict import CONTRADICTED, OPEN, SHOWN, Claim, failed, judge, loss

SECTION = "Data, schedule and kind of norm"
RAN = "12 x 64, 16 x 64 bytes a step, seeds 11 to 13"
STEPS = (150, 600) if FAST else (150, 300, 600)
NORMS = ("pre", "peri")
HIGH = (4,) if FAST else (4, 8)      # times R, where short runs may fail
LONGER_WARMUP = "0.4"                # of 150 steps: the 60 that 600 steps have


def runs_of(norm, steps, rate, **flags):
    """300 steps are those of learning_rate.py."""
    if steps != 300:
        flags["steps"] = steps
    return runs("S64", (norm,), (rate,), SEEDS, **flags)


def mean_loss(norm, steps, rate):
    found = done(runs_of(norm, steps, rate))
    return mean(loss(r) for r in found) if len(found) == len(SEEDS) else None


def grid(norm, steps):
    """R/2 to 4R, and beyond an end (to R/8 and 16R at most) where the best rate lies at it."""
    if FAST:
        return around_shared_rate(1, 4)
    ladder = around_shared_rate(1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16)
    return widened(ladder, 2, 6, lambda rate: mean_loss(norm, steps, rate))


def best_rate(norm, steps):
    return best_inside(grid(norm, steps), lambda rate: mean_loss(norm, steps, rate))


def wanted():
    sweep = [run for norm in NORMS for steps in STEPS for rate in grid(norm, steps)
             for run in runs_of(norm, steps, rate)]
    high = [run for norm in NORMS for rate in around_shared_rate(*HIGH)
            for run in runs_of(norm, 150, rate) + runs_of(norm, 600, rate)
            + runs_of(norm, 150, rate, warmup=LONGER_WARMUP)]
    return sweep + high


def figures():
    def curve(norm, steps):
        points = []
        for rate in grid(norm, steps):
            losses = [loss(r) for r in done(runs_of(norm, steps, rate))]
            if losses:
                points.append((float(rate), mean(losses), min(losses), max(losses)))
        return Curve(norm, points, norm, marks=True)
    panels = [Panel(f"{steps} steps", "peak learning rate", "validation loss (nats a byte)",
                    [curve(norm, steps) for norm in NORMS], logx=True) for steps in STEPS]
    return [(figure("tokens", "Learning rate and tokens (Figure 16): " + RAN, panels),
             "Validation loss against the peak learning rate, for runs of different lengths.")]


# ---- claims -------------------------------------------------------------------------------------

def best_rate_claim():
    best = {(norm, steps): best_rate(norm, steps) for norm in NORMS for steps in STEPS}
    words = [f"{norm}, {steps} steps: {rate or 'not known, or at an end of the grid'}"
             for (norm, steps), rate in best.items()]
    verdict = OPEN
    if None not in best.values():
        ratios = [float(best[norm, 600]) / float(best[norm, 150]) for norm in NORMS]
        far = [ratio > 3.9 or ratio < 1 / 3.9 for ratio in ratios]
        verdict = CONTRADICTED if any(far) else SHOWN
    return [Claim("tokens-best-rate", RAN, "best rate: " + "; ".join(words), verdict)]


def failures(norm, steps, **flags):
    """(failed, all) of the runs at the high rates."""
    found = [r for rate in around_shared_rate(*HIGH)
             for r in done(runs_of(norm, steps, rate, **flags))]
    return sum(map(failed, found)), len(found)


def short_claim():
    kinds = {"150 steps": dict(steps=150), "600 steps": dict(steps=600),
             "150 steps with 60 of warmup": dict(steps=150, warmup=LONGER_WARMUP)}
    counts = {kind: [failures(norm, **flags) for norm in NORMS] for kind, flags in kinds.items()}
    complete = all(n == len(HIGH) * len(SEEDS) for each in counts.values() for _, n in each)
    short, long, warm = (sum(k for k, _ in each) for each in counts.values())
    words = [f"{kind}: " + ", ".join(f"{norm} {k} of {n}" for norm, (k, n) in zip(NORMS, each))
             for kind, each in counts.items()]
    verdict = judge(short - long >= 2 and short - warm >= 2, long - short >= 2)
    return [Claim("short-run-high-rate", f"{RAN}, rates {' and '.join(around_shared_rate(*HIGH))}",
                  "runs that fail, " + "; ".join(words), verdict if complete else OPEN)]


def claims():
    if not any(done(runs_of("pre", 150, rate)) for rate in around_shared_rate()):
        return []
    return best_rate_claim() + short_claim()
