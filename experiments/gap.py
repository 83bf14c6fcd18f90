"""Whether Peri-LN's lead over Pre-LN shrinks as training goes on (beyond the paper).

Runs of 150, 300 and 600 steps at R, each with its own full cosine, and the seeds of seeds.py.
"""
from statistics import mean

from draw import Curve, Panel, band, figure
from lab import LATER, SEEDS, finished, runs
from learning_rate import around_shared_rate, caution, shared_rate
from verdict import Claim, interval, pairs, spread, verdict

SECTION = "Beyond the papers"
LENGTHS = (150, 300, 600)
RAN = "12 x 64, steps of 16 x 64 bytes"


def runs_of(norm, steps, seeds=SEEDS):
    return runs("S64", (norm,), around_shared_rate(), seeds, **length(steps))


def short_warmup(norm, seeds=SEEDS):
    """Runs of 600 steps with the warmup of those of 300 (causes.py's)."""
    return runs("S64", (norm,), around_shared_rate(), seeds, steps=600, warmup="0.05")


def length(steps):
    return {} if steps == 300 else {"steps": steps}


def wanted():
    return [run for steps in LENGTHS for norm in ("pre", "peri") for run in runs_of(norm, steps)]


def needs(run):
    """Of every recipe's runs of the two: their losses along the run."""
    return {"validate": 50} if run.norm in ("pre", "peri") else {}


def leads_along(steps, seeds=SEEDS):
    """[[(step, lead)]] of each seed, from the validations along the run."""
    peri = {run.seed: dict(r.validation) for run, r in finished(runs_of("peri", steps, seeds))}
    return [[(step, loss - peri[run.seed][step]) for step, loss in r.validation
             if step in peri[run.seed]]
            for run, r in finished(runs_of("pre", steps, seeds)) if run.seed in peri]


def figures():
    curves = [Curve(f"runs of {steps}", band(leads_along(steps)), marks=True) for steps in LENGTHS]
    curves.append(Curve("runs of 300, seeds 14 to 20", band(leads_along(300, LATER)), dashed=True,
                        marks=True))
    ends = [(steps, mean(found), min(found), max(found)) for steps in LENGTHS
            if (found := pairs(runs_of("pre", steps), runs_of("peri", steps)))]
    what = "loss of pre minus peri (nats a byte)"
    panels = [Panel("along the runs", "step", what, curves),
              Panel("at the end", "steps of the run", what,
                    [Curve("pre - peri", ends, marks=True)])]
    title = f"Peri-LN's lead over Pre-LN: rate {shared_rate()}, {RAN}, seeds 11 to 13"
    return [(figure("gap", title, panels, 2),
             "Validation loss of Pre-LN minus that of Peri-LN, mean and range over the seeds.")]


def lead_at(steps, rate, at, seeds=SEEDS):
    """The lead at a step within runs of so many, by seed. Losses are kept to four digits."""
    found = {norm: {run.seed: dict(r.validation) for run, r in
                    finished(runs("S64", (norm,), (rate,), seeds, **length(steps)))}
             for norm in ("pre", "peri")}
    return [round(pre[at] - found["peri"][seed][at], 6) for seed, pre in found["pre"].items()
            if at in pre and at in found["peri"].get(seed, {})]


def along_words(steps, rate, seeds):
    return ", ".join(f"step {at} {spread(found, '+.3f')}" for at in range(50, steps + 1, 50)
                     if (found := lead_at(steps, rate, at, seeds)))


def shrinks(title, steps, first, seeds=SEEDS):
    """That the lead is larger at a step than at the end of the same run."""
    rate = shared_rate()
    early, late = (lead_at(steps, rate, at, seeds) for at in (first, steps))
    if not early or len(early) != len(late):
        return []
    less = [a - b for a, b in zip(early, late)]
    return [Claim("gap-shrinks", f"{RAN}, rate {rate}, seeds {seeds[0]} to {seeds[-1]}",
                  f"{title}: along runs of {steps} steps {along_words(steps, rate, seeds)}; from "
                  f"step {first} to {steps} it shrinks by {interval(less)}{others(steps)}"
                  f"{caution()}", verdict(less), "runs of 2,400 steps")]


def others(steps):
    """In words: other rates, where these were run."""
    words = []
    for rate in around_shared_rate(1 / 2, 2, 4):
        at = [(step, lead_at(steps, rate, step)) for step in (steps // 4, steps // 2, steps)]
        if all(found for _, found in at):
            words.append(f"at {rate} " + ", ".join(f"step {step} {mean(found):+.3f}"
                                                   for step, found in at))
    return f" (other rates, means: {'; '.join(words)})" if words else ""


def claims():
    """Within runs, whose warmup is one. Runs of different lengths differ in the steps of warmup as
    well, so that their ends are told only."""
    if not shared_rate():
        return []
    at = {steps: pairs(runs_of("pre", steps), runs_of("peri", steps)) for steps in LENGTHS}
    found = shrinks("from the warmup on", 600, 50) + shrinks("after the warmup", 600, 150)
    if found and all(at.values()):
        words = [f"{spread(lead, '+.3f')} after {steps} steps" for steps, lead in at.items()]
        found[0].seen += (f". Final leads, no verdict as the steps of warmup differ (15, 30, 60): "
                          f"{', '.join(words)}")
    return found + shrinks("after the warmup", 300, 150, LATER)
